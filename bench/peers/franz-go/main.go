// franz-go, driven as worker.mjs drives the clients of Node: one measurement, its result as one line of JSON.
package main

import (
	"bytes"
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"runtime/debug"
	"sort"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
)

// Reading the clock twice a record costs; these suffice for a p99. As in scenarios/singles.mjs.
const sampleEvery = 8

type result struct {
	Version          string  `json:"version"`
	RecordCount      int64   `json:"recordCount"`
	RecordsPerSecond float64 `json:"recordsPerSecond"`
	CpuMicros        float64 `json:"cpuMicros"`
	P50Ms            float64 `json:"p50Ms"`
	P99Ms            float64 `json:"p99Ms"`
	RssBytes         int64   `json:"rssBytes"`
}

type tally struct {
	count     atomic.Int64
	running   atomic.Bool
	measuring atomic.Bool
	mutex     sync.Mutex
	latencies []float64
}

func (t *tally) add(latency time.Duration, isSampled bool) {
	t.count.Add(1)
	if !isSampled || !t.measuring.Load() {
		return
	}
	t.mutex.Lock()
	t.latencies = append(t.latencies, float64(latency.Nanoseconds())/1e6)
	t.mutex.Unlock()
}

func main() {
	brokers := flag.String("brokers", "127.0.0.1:9092", "")
	topic := flag.String("topic", "bench", "")
	run := flag.String("run", "singles", "singles or batches")
	callers := flag.Int("callers", 1, "")
	valuesPath := flag.String("values", "", "a file with the values of the records, a line each")
	codec := flag.String("codec", "none", "")
	gzipLevel := flag.Int("gzip-level", -1, "-1: its own default")
	warmupMs := flag.Int("warmup", 1000, "")
	measuredMs := flag.Int("measured", 2500, "")
	flag.Parse()

	lines, err := os.ReadFile(*valuesPath)
	check(err)
	values := bytes.Split(lines, []byte("\n"))
	// As it comes, but for the linger: 10 ms by default, which a caller that awaits each send would wait for.
	options := []kgo.Opt{kgo.SeedBrokers(strings.Split(*brokers, ",")...), kgo.ProducerLinger(0), kgo.DefaultProduceTopic(*topic)}
	codecs := map[string]kgo.CompressionCodec{
		"none": kgo.NoCompression(), "gzip": kgo.GzipCompression().WithLevel(*gzipLevel), "snappy": kgo.SnappyCompression(),
		"lz4": kgo.Lz4Compression(), "zstd": kgo.ZstdCompression(),
	}
	options = append(options, kgo.ProducerBatchCompression(codecs[*codec]))
	outstanding := *callers
	if *run == "batches" {
		// As many as five batches of a thousand.
		outstanding = 5000
		options = append(options, kgo.MaxBufferedRecords(outstanding))
	}
	client, err := kgo.NewClient(options...)
	check(err)

	t := &tally{}
	t.running.Store(true)
	var waiting sync.WaitGroup
	if *run == "singles" {
		for caller := 0; caller < outstanding; caller++ {
			waiting.Add(1)
			go awaitEach(client, values[0], caller, outstanding, t, &waiting)
		}
	} else {
		waiting.Add(1)
		go pushAll(client, values, t, &waiting)
	}

	time.Sleep(time.Duration(*warmupMs) * time.Millisecond)
	cpuBefore, countBefore, started := cpuMicros(), t.count.Load(), time.Now()
	t.measuring.Store(true)
	time.Sleep(time.Duration(*measuredMs) * time.Millisecond)
	count, elapsed, cpu := t.count.Load()-countBefore, time.Since(started), cpuMicros()-cpuBefore
	t.measuring.Store(false)
	t.running.Store(false)
	waiting.Wait()
	check(client.Flush(context.Background()))
	client.Close()

	t.mutex.Lock()
	sort.Float64s(t.latencies)
	out := result{version(), count, float64(count) / elapsed.Seconds(), cpu / float64(count),
		quantile(t.latencies, 0.5), quantile(t.latencies, 0.99), rssBytes()}
	t.mutex.Unlock()
	check(json.NewEncoder(os.Stdout).Encode(out))
}

func awaitEach(client *kgo.Client, value []byte, caller, callers int, t *tally, waiting *sync.WaitGroup) {
	defer waiting.Done()
	done := make(chan error, 1)
	for sent := caller; t.running.Load(); sent++ {
		isSampled := callers <= 10 || sent%sampleEvery == 0
		started := time.Now()
		client.Produce(context.Background(), &kgo.Record{Value: value}, func(_ *kgo.Record, err error) { done <- err })
		check(<-done)
		t.add(time.Since(started), isSampled)
	}
}

func pushAll(client *kgo.Client, values [][]byte, t *tally, waiting *sync.WaitGroup) {
	defer waiting.Done()
	for sent := 0; t.running.Load(); sent++ {
		isSampled := sent%sampleEvery == 0
		started := time.Now()
		client.Produce(context.Background(), &kgo.Record{Value: values[sent%len(values)]}, func(_ *kgo.Record, err error) {
			check(err)
			t.add(time.Since(started), isSampled)
		})
	}
}

func cpuMicros() float64 {
	var usage syscall.Rusage
	check(syscall.Getrusage(syscall.RUSAGE_SELF, &usage))
	micros := func(value syscall.Timeval) float64 { return float64(value.Sec)*1e6 + float64(value.Usec) }
	return micros(usage.Utime) + micros(usage.Stime)
}

func rssBytes() int64 {
	var usage syscall.Rusage
	check(syscall.Getrusage(syscall.RUSAGE_SELF, &usage))
	return usage.Maxrss * 1024
}

func quantile(sorted []float64, q float64) float64 {
	if len(sorted) == 0 {
		return 0
	}
	return sorted[min(len(sorted)-1, int(float64(len(sorted))*q))]
}

func version() string {
	info, _ := debug.ReadBuildInfo()
	for _, module := range info.Deps {
		if module.Path == "github.com/twmb/franz-go" {
			return module.Version
		}
	}
	return "unknown"
}

func check(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}
