// Apache Kafka's Java clients: java -cp "JARS/*" JavaClients.java host:port

import java.nio.charset.StandardCharsets;
import java.time.Duration;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.HashMap;
import java.util.HashSet;
import java.util.List;
import java.util.Map;
import java.util.Properties;
import java.util.Set;
import java.util.UUID;
import java.util.concurrent.Callable;
import java.util.concurrent.Future;
import java.util.concurrent.TimeUnit;
import org.apache.kafka.clients.admin.Admin;
import org.apache.kafka.clients.admin.AlterConfigOp;
import org.apache.kafka.clients.admin.ConfigEntry;
import org.apache.kafka.clients.admin.NewPartitions;
import org.apache.kafka.clients.admin.NewTopic;
import org.apache.kafka.clients.admin.OffsetSpec;
import org.apache.kafka.clients.admin.RecordsToDelete;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.consumer.OffsetAndMetadata;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.clients.producer.RecordMetadata;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.config.ConfigResource;
import org.apache.kafka.common.header.Header;
import org.apache.kafka.common.serialization.StringDeserializer;
import org.apache.kafka.common.serialization.StringSerializer;
import org.apache.kafka.common.utils.AppInfoParser;

public class JavaClients {
  static final String run = UUID.randomUUID().toString().substring(0, 8);
  static final String topic = "java-" + run;
  static final String timed = topic + "-time";
  static String server;
  static Admin admin;
  static boolean failed = false;

  public static void main(String[] args) throws Exception {
    server = args[0];
    admin = Admin.create(settings());
    System.out.println("Java clients " + AppInfoParser.getVersion());
    check("create a topic", () -> {
      admin.createTopics(List.of(new NewTopic(topic, 3, (short) 1), new NewTopic(timed, 1, (short) 1))).all().get();
    });
    for (String codec : List.of("none", "gzip", "snappy", "lz4", "zstd")) {
      check("produce with " + codec, () -> produce(20, "compression.type", codec, "enable.idempotence", "false"));
    }
    check("produce idempotently", () -> produce(2000, "compression.type", "lz4"));
    check("headers with duplicates, empty and null", JavaClients::headers);
    check("consume from an offset by time", JavaClients::byTime);
    check("a group of two, joined and left", () -> group("Range"));
    check("the same with cooperative-sticky", () -> group("CooperativeSticky"));
    check("a static member comes back", JavaClients::staticMember);
    check("commit and resume", JavaClients::resume);
    check("partitions, configs, cluster, log dirs, delete records", JavaClients::administer);
    check("delete topics", () -> {
      admin.deleteTopics(List.of(topic, timed)).all().get();
      waitUntil("they are gone", () -> !admin.listTopics().names().get().contains(topic));
    });
    admin.close();
    System.exit(failed ? 1 : 0);
  }

  static void produce(int count, String... more) throws Exception {
    List<Future<RecordMetadata>> sent = new ArrayList<>();
    try (var producer = producer(more)) {
      for (int i = 0; i < count; i++) sent.add(producer.send(new ProducerRecord<>(topic, i % 3, "" + i, "x".repeat(200))));
    }
    Set<String> places = new HashSet<>();
    for (var one : sent) places.add(one.get().partition() + " " + one.get().offset());
    expect(places.size(), count);
  }

  static void headers() throws Exception {
    var record = new ProducerRecord<>(topic, 0, "key", "with headers");
    record.headers().add("a", bytes("1")).add("a", bytes("2")).add("empty", bytes("")).add("null", null);
    long offset;
    try (var producer = producer()) {
      offset = producer.send(record).get().offset();
    }
    try (var consumer = consumer("headers-" + run)) {
      var partition = new TopicPartition(topic, 0);
      consumer.assign(List.of(partition));
      consumer.seek(partition, offset);
      List<String> seen = new ArrayList<>();
      for (Header header : read(consumer, 1).get(0).headers()) {
        seen.add(header.key() + "=" + (header.value() == null ? null : new String(header.value(), StandardCharsets.UTF_8)));
      }
      expect(seen, List.of("a=1", "a=2", "empty=", "null=null"));
    }
  }

  static void byTime() throws Exception {
    try (var producer = producer()) {
      for (long at : new long[] {1000, 2000, 3000}) producer.send(new ProducerRecord<>(timed, 0, at, null, "" + at)).get();
    }
    var partition = new TopicPartition(timed, 0);
    try (var consumer = consumer("time-" + run)) {
      consumer.assign(List.of(partition));
      long offset = consumer.offsetsForTimes(Map.of(partition, 1500L)).get(partition).offset();
      expect(offset, 1L);
      consumer.seek(partition, offset);
      List<String> values = new ArrayList<>();
      for (var record : read(consumer, 2)) values.add(record.value());
      expect(values, List.of("2000", "3000"));
    }
    var latest = admin.listOffsets(Map.of(partition, OffsetSpec.maxTimestamp())).partitionResult(partition).get();
    expect(latest.offset() + " at " + latest.timestamp(), "2 at 3000");
  }

  static void group(String assignor) throws Exception {
    String[] strategy = {"partition.assignment.strategy", "org.apache.kafka.clients.consumer." + assignor + "Assignor"};
    String name = "group-" + run + assignor;
    try (var first = consumer(name, strategy)) {
      first.subscribe(List.of(topic));
      waitUntil("the first member has all", () -> held(first) == 3);
      try (var second = consumer(name, strategy)) {
        second.subscribe(List.of(topic));
        waitUntil("both have some", () -> held(first) + held(second) == 3 && second.assignment().size() == 1);
      }
      waitUntil("the first has all again", () -> held(first) == 3);
    }
  }

  static int held(KafkaConsumer<String, String> member) {
    member.poll(Duration.ofMillis(50));
    return member.assignment().size();
  }

  static void staticMember() throws Exception {
    String name = "static-" + run;
    String[] instance = {"group.instance.id", "one"};
    String memberId;
    try (var member = consumer(name, instance)) {
      member.subscribe(List.of(topic));
      waitUntil("it has all", () -> held(member) == 3);
      memberId = member.groupMetadata().memberId();
    }
    try (var again = consumer(name, instance)) {
      again.subscribe(List.of(topic));
      waitUntil("it has all again", () -> held(again) == 3);
      expect(again.groupMetadata().generationId(), 1);
      expect(again.groupMetadata().memberId().equals(memberId), false);
    }
  }

  static void resume() throws Exception {
    String name = "resume-" + run;
    Set<String> places = new HashSet<>();
    Map<TopicPartition, OffsetAndMetadata> next = new HashMap<>();
    try (var source = consumer(name, "max.poll.records", "10")) {
      source.subscribe(List.of(topic));
      for (var record : read(source, 10)) {
        places.add(record.partition() + " " + record.offset());
        next.put(new TopicPartition(topic, record.partition()), new OffsetAndMetadata(record.offset() + 1, "note"));
      }
      source.commitSync(next);
    }
    expect(admin.listConsumerGroupOffsets(name).partitionsToOffsetAndMetadata().get(), next);
    try (var again = consumer(name)) {
      again.subscribe(List.of(topic));
      var partitions = Arrays.asList(0, 1, 2).stream().map(index -> new TopicPartition(topic, index)).toList();
      long total = again.endOffsets(partitions).values().stream().mapToLong(Long::longValue).sum();
      for (var record : read(again, (int) total - 10)) places.add(record.partition() + " " + record.offset());
      expect(places.size(), (int) total);
    }
    waitUntil("the group is empty", () ->
      admin.describeConsumerGroups(List.of(name)).describedGroups().get(name).get().members().isEmpty());
    admin.deleteConsumerGroupOffsets(name, Set.of(next.keySet().iterator().next())).all().get();
    admin.deleteConsumerGroups(List.of(name)).all().get();
  }

  static void administer() throws Exception {
    admin.createPartitions(Map.of(topic, NewPartitions.increaseTo(4))).all().get();
    var resource = new ConfigResource(ConfigResource.Type.TOPIC, topic);
    var set = new AlterConfigOp(new ConfigEntry("retention.ms", "1234567"), AlterConfigOp.OpType.SET);
    admin.incrementalAlterConfigs(Map.of(resource, List.of(set))).all().get();
    var config = admin.describeConfigs(List.of(resource)).all().get().get(resource);
    expect(config.get("retention.ms").value() + " " + config.get("retention.ms").source(), "1234567 DYNAMIC_TOPIC_CONFIG");
    expect(config.get("cleanup.policy").source().toString(), "DEFAULT_CONFIG");
    expect(admin.describeCluster().nodes().get().size(), 1);
    var node = admin.describeCluster().controller().get().id();
    var directories = admin.describeLogDirs(List.of(node)).allDescriptions().get().get(node).values();
    expect(directories.iterator().next().replicaInfos().containsKey(new TopicPartition(topic, 3)), true);
    var partition = new TopicPartition(topic, 0);
    var deleted = admin.deleteRecords(Map.of(partition, RecordsToDelete.beforeOffset(5)));
    expect(deleted.lowWatermarks().get(partition).get().lowWatermark(), 5L);
  }

  interface Body {
    void run() throws Exception;
  }

  static void check(String name, Body body) {
    try {
      body.run();
      System.out.println("ok    " + name);
    } catch (Exception error) {
      failed = true;
      System.out.println("FAIL  " + name + ": " + error);
      error.printStackTrace();
    }
  }

  static void expect(Object actual, Object expected) {
    if (!actual.equals(expected)) throw new IllegalStateException(actual + "; expected " + expected);
  }

  static void waitUntil(String what, Callable<Boolean> condition) throws Exception {
    long end = System.nanoTime() + TimeUnit.SECONDS.toNanos(60);
    while (!condition.call()) {
      if (System.nanoTime() > end) throw new IllegalStateException("waited in vain until " + what);
      Thread.sleep(20);
    }
  }

  static List<ConsumerRecord<String, String>> read(KafkaConsumer<String, String> consumer, int count) throws Exception {
    List<ConsumerRecord<String, String>> records = new ArrayList<>();
    waitUntil(count + " records came", () -> {
      consumer.poll(Duration.ofMillis(200)).forEach(records::add);
      return records.size() >= count;
    });
    return records;
  }

  static KafkaProducer<String, String> producer(String... more) {
    return new KafkaProducer<>(settings(more), new StringSerializer(), new StringSerializer());
  }

  static KafkaConsumer<String, String> consumer(String group, String... more) {
    Properties settings = settings(more);
    settings.putAll(Map.of("group.id", group, "auto.offset.reset", "earliest", "enable.auto.commit", "false"));
    settings.putAll(Map.of("session.timeout.ms", "6000", "heartbeat.interval.ms", "300"));
    return new KafkaConsumer<>(settings, new StringDeserializer(), new StringDeserializer());
  }

  static Properties settings(String... more) {
    Properties settings = new Properties();
    settings.put("bootstrap.servers", server);
    for (int i = 0; i < more.length; i += 2) settings.put(more[i], more[i + 1]);
    return settings;
  }

  static byte[] bytes(String text) {
    return text.getBytes(StandardCharsets.UTF_8);
  }
}
