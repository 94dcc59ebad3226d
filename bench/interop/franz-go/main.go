// franz-go: go run . host:port
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"runtime/debug"
	"strconv"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
)

var (
	server = os.Args[1]
	run    = strconv.FormatInt(time.Now().UnixNano(), 36)
	topic  = "franz-" + run
	timed  = topic + "-time"
	failed = false
)

func check(name string, body func(context.Context) error) {
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	if err := body(ctx); err != nil {
		failed = true
		fmt.Printf("FAIL  %s: %v\n", name, err)
		return
	}
	fmt.Printf("ok    %s\n", name)
}

func client(options ...kgo.Opt) *kgo.Client {
	made, err := kgo.NewClient(append([]kgo.Opt{kgo.SeedBrokers(server)}, options...)...)
	if err != nil {
		panic(err)
	}
	return made
}

func produce(ctx context.Context, count int, options ...kgo.Opt) error {
	producer := client(append(options, kgo.RecordPartitioner(kgo.ManualPartitioner()))...)
	defer producer.Close()
	records := make([]*kgo.Record, count)
	for i := range records {
		records[i] = &kgo.Record{Topic: topic, Partition: int32(i % 3), Key: []byte(strconv.Itoa(i)), Value: []byte(strings.Repeat("x", 200))}
	}
	return producer.ProduceSync(ctx, records...).FirstErr()
}

func read(ctx context.Context, source *kgo.Client, count int) ([]*kgo.Record, error) {
	var records []*kgo.Record
	for len(records) < count {
		fetches := source.PollFetches(ctx)
		if err := fetches.Err(); err != nil {
			return records, fmt.Errorf("%d of %d records came: %w", len(records), count, err)
		}
		records = append(records, fetches.Records()...)
	}
	return records, nil
}

func from(topic string, partition int32, offset int64) kgo.Opt {
	at := map[string]map[int32]kgo.Offset{topic: {partition: kgo.NewOffset().At(offset)}}
	return kgo.ConsumePartitions(at)
}

func headers(ctx context.Context) error {
	producer := client(kgo.RecordPartitioner(kgo.ManualPartitioner()))
	defer producer.Close()
	given := []kgo.RecordHeader{{Key: "a", Value: []byte("1")}, {Key: "a", Value: []byte("2")}, {Key: "empty", Value: []byte{}}, {Key: "null", Value: nil}}
	sent, err := producer.ProduceSync(ctx, &kgo.Record{Topic: topic, Value: []byte("with headers"), Headers: given}).First()
	if err != nil {
		return err
	}
	source := client(from(topic, 0, sent.Offset))
	defer source.Close()
	records, err := read(ctx, source, 1)
	if err != nil {
		return err
	}
	for i, header := range records[0].Headers {
		same := header.Key == given[i].Key && string(header.Value) == string(given[i].Value) && (header.Value == nil) == (given[i].Value == nil)
		if !same {
			return fmt.Errorf("header %d came as %v", i, header)
		}
	}
	if len(records[0].Headers) != len(given) {
		return fmt.Errorf("%d headers came", len(records[0].Headers))
	}
	return nil
}

func byTime(ctx context.Context) error {
	producer := client(kgo.RecordPartitioner(kgo.ManualPartitioner()))
	defer producer.Close()
	for _, at := range []int64{1000, 2000, 3000} {
		record := &kgo.Record{Topic: timed, Value: []byte(strconv.FormatInt(at, 10)), Timestamp: time.UnixMilli(at)}
		if err := producer.ProduceSync(ctx, record).FirstErr(); err != nil {
			return err
		}
	}
	source := client(kgo.ConsumeTopics(timed), kgo.ConsumeResetOffset(kgo.NewOffset().AfterMilli(1500)))
	defer source.Close()
	records, err := read(ctx, source, 2)
	if err == nil && string(records[0].Value) != "2000" {
		return fmt.Errorf("the first record is %s", records[0].Value)
	}
	return err
}

func group(balancer kgo.GroupBalancer) func(context.Context) error {
	return func(ctx context.Context) error {
		held := make(map[string]int)
		events := make(chan func(), 100)
		member := func(name string) (*kgo.Client, func()) {
			count := func(by int) func(context.Context, *kgo.Client, map[string][]int32) {
				return func(_ context.Context, _ *kgo.Client, partitions map[string][]int32) {
					change := by * len(partitions[topic])
					events <- func() { held[name] += change }
				}
			}
			made := client(kgo.ConsumerGroup("group-"+run+balancer.ProtocolName()), kgo.ConsumeTopics(topic), kgo.Balancers(balancer),
				kgo.SessionTimeout(6*time.Second), kgo.HeartbeatInterval(200*time.Millisecond),
				kgo.OnPartitionsAssigned(count(1)), kgo.OnPartitionsRevoked(count(-1)), kgo.OnPartitionsLost(count(-1)))
			polling, stop := context.WithCancel(ctx)
			go func() {
				for polling.Err() == nil {
					made.PollFetches(polling)
				}
			}()
			return made, stop
		}
		until := func(what string, first, second int) error {
			for {
				rest := 3 - held["first"] - held["second"]
				if rest == 0 && held["first"] >= first && held["second"] >= second {
					return nil
				}
				select {
				case event := <-events:
					event()
				case <-ctx.Done():
					return fmt.Errorf("waited in vain until %s: %v", what, held)
				}
			}
		}
		first, stopFirst := member("first")
		defer first.Close()
		defer stopFirst()
		if err := until("the first member has all", 3, 0); err != nil {
			return err
		}
		second, stopSecond := member("second")
		if err := until("both have some", 1, 1); err != nil {
			return err
		}
		stopSecond()
		second.Close()
		return until("the first has all again", 3, 0)
	}
}

func resume(ctx context.Context) error {
	name := "resume-" + run
	member := func() *kgo.Client {
		return client(kgo.ConsumerGroup(name), kgo.ConsumeTopics(topic), kgo.DisableAutoCommit(), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()))
	}
	source := member()
	seen := source.PollRecords(ctx, 10).Records()
	if err := source.CommitRecords(ctx, seen...); err != nil {
		return err
	}
	source.Close()
	admin := kadm.NewClient(client())
	defer admin.Close()
	lag, err := admin.Lag(ctx, name)
	if err != nil {
		return err
	}
	left := lag[name].Lag.Total()
	again := member()
	rest, err := read(ctx, again, int(left))
	if err != nil {
		return err
	}
	again.Close()
	known := make(map[string]bool)
	for _, record := range append(seen, rest...) {
		place := fmt.Sprint(record.Partition, record.Offset)
		if known[place] {
			return fmt.Errorf("%s came twice", place)
		}
		known[place] = true
	}
	_, err = admin.DeleteGroup(ctx, name)
	return err
}

func administer(ctx context.Context) error {
	admin := kadm.NewClient(client())
	defer admin.Close()
	grown, err := admin.UpdatePartitions(ctx, 4, topic)
	if err := errors.Join(err, grown.Error()); err != nil {
		return err
	}
	value := "1234567"
	altered, err := admin.AlterTopicConfigs(ctx, []kadm.AlterConfig{{Op: kadm.SetConfig, Name: "retention.ms", Value: &value}}, topic)
	if err != nil || altered[0].Err != nil {
		return errors.Join(err, altered[0].Err)
	}
	ends, err := admin.ListEndOffsets(ctx, topic)
	if err != nil {
		return err
	}
	deleted, err := admin.DeleteRecords(ctx, ends.Offsets())
	return errors.Join(err, deleted.Error())
}

func main() {
	if info, ok := debug.ReadBuildInfo(); ok {
		for _, module := range info.Deps {
			if module.Path == "github.com/twmb/franz-go" {
				fmt.Println("franz-go", module.Version)
			}
		}
	}
	check("create a topic", func(ctx context.Context) error {
		admin := kadm.NewClient(client())
		defer admin.Close()
		made, err := admin.CreateTopics(ctx, 3, 1, nil, topic)
		more, err2 := admin.CreateTopics(ctx, 1, 1, nil, timed)
		return errors.Join(err, made.Error(), err2, more.Error())
	})
	codecs := map[string]kgo.CompressionCodec{"none": kgo.NoCompression(), "gzip": kgo.GzipCompression(), "snappy": kgo.SnappyCompression(), "lz4": kgo.Lz4Compression(), "zstd": kgo.ZstdCompression()}
	for name, codec := range codecs {
		check("produce with "+name, func(ctx context.Context) error {
			return produce(ctx, 20, kgo.ProducerBatchCompression(codec), kgo.DisableIdempotentWrite())
		})
	}
	check("produce idempotently", func(ctx context.Context) error { return produce(ctx, 2000) })
	check("headers with duplicates, empty and null", headers)
	check("consume from an offset by time", byTime)
	check("a group of two, joined and left", group(kgo.RangeBalancer()))
	check("the same with cooperative-sticky", group(kgo.CooperativeStickyBalancer()))
	check("commit and resume", resume)
	check("partitions, configs, delete records", administer)
	check("delete topics", func(ctx context.Context) error {
		admin := kadm.NewClient(client())
		defer admin.Close()
		deleted, err := admin.DeleteTopics(ctx, topic, timed)
		return errors.Join(err, deleted.Error())
	})
	if failed {
		os.Exit(1)
	}
}
