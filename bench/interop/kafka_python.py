"""kafka-python: python kafka_python.py host:port"""

import sys
import threading
import uuid

import kafka
from kafka import KafkaAdminClient, KafkaConsumer, KafkaProducer, TopicPartition
from kafka import codec as codecs
from kafka.admin import NewTopic
from kafka.structs import OffsetAndMetadata

from checks import check, expect, finish, wait_until

server = sys.argv[1]
run = uuid.uuid4().hex[:8]
topic = f"kafka-python-{run}"
admin = KafkaAdminClient(bootstrap_servers=server)
print(f"kafka-python {kafka.__version__}")


def consumer(*topics, group=None, **settings):
    return KafkaConsumer(*topics, bootstrap_servers=server, group_id=group, enable_auto_commit=False,
                         auto_offset_reset="earliest", session_timeout_ms=6000, heartbeat_interval_ms=500, **settings)


def read(source, count):
    messages = []

    def more():
        for batch in source.poll(timeout_ms=200).values():
            messages.extend(batch)
        return len(messages) >= count

    wait_until(f"{count} messages came", more)
    return messages


def produce(count=20, **settings):
    producer = KafkaProducer(bootstrap_servers=server, linger_ms=5, **settings)
    futures = [producer.send(topic, key=str(i).encode(), value=b"x" * 200, partition=i % 3) for i in range(count)]
    producer.flush(20)
    expect(len({(f.get(10).partition, f.get(10).offset) for f in futures}), count)
    producer.close()


def headers():
    given = [("a", b"1"), ("a", b"2"), ("empty", b"")]  # this client sends no null ones
    producer = KafkaProducer(bootstrap_servers=server)
    sent = producer.send(topic, b"with headers", headers=given, partition=0).get(10)
    producer.close()
    source = consumer()
    source.assign([TopicPartition(topic, 0)])
    source.seek(TopicPartition(topic, 0), sent.offset)
    expect([tuple(header) for header in read(source, 1)[0].headers], given)
    source.close()


def by_time():
    producer = KafkaProducer(bootstrap_servers=server)
    for timestamp in (1_000, 2_000, 3_000):
        producer.send(topic + "-time", str(timestamp).encode(), partition=0, timestamp_ms=timestamp)
    producer.flush(20)
    producer.close()
    partition = TopicPartition(topic + "-time", 0)
    source = consumer()
    source.assign([partition])
    found = source.offsets_for_times({partition: 1_500})[partition]
    expect(found.offset, 1)
    source.seek(partition, found.offset)
    expect([message.value for message in read(source, 2)], [b"2000", b"3000"])
    source.close()


class Member:
    """A group member with a thread of its own: in old versions poll waits until all members have joined."""

    def __init__(self, name):
        self.consumer = consumer(topic, group=name)
        self.held = 0
        self.is_leaving = threading.Event()
        self.thread = threading.Thread(target=self.poll, daemon=True)
        self.thread.start()

    def poll(self):
        while not self.is_leaving.is_set():
            self.consumer.poll(timeout_ms=50)
            self.held = len(self.consumer.assignment())
        self.consumer.close()

    def leave(self):
        self.is_leaving.set()
        self.thread.join(20)


def group():
    first = Member(f"group-{run}")
    wait_until("the first member has all", lambda: first.held == 3)
    second = Member(f"group-{run}")
    wait_until("both have some", lambda: first.held + second.held == 3 and second.held > 0)
    second.leave()
    wait_until("the first has all again", lambda: first.held == 3)
    first.leave()


def commit_and_resume():
    name = f"resume-{run}"
    source = consumer(topic, group=name, max_poll_records=10)
    seen = read(source, 10)
    more = [-1] * (len(OffsetAndMetadata._fields) - 2)  # versions since 2.1 add the leader epoch
    for message in seen:
        source.commit({TopicPartition(topic, message.partition): OffsetAndMetadata(message.offset + 1, "note", *more)})
    source.close()
    again = consumer(topic, group=name)
    total = sum(again.end_offsets([TopicPartition(topic, p) for p in range(3)]).values())
    rest = read(again, total - 10)
    expect({(m.partition, m.offset) for m in rest} & {(m.partition, m.offset) for m in seen}, set())
    expect(len(rest), total - 10)
    again.close()


def delete():
    admin.delete_topics([topic, topic + "-time"])
    wait_until("the topic is gone", lambda: topic not in admin.list_topics())


check("create a topic", lambda: admin.create_topics([NewTopic(topic, 3, 1)]))
for codec in [None, "gzip", "snappy", "lz4", "zstd"]:
    if codec is None or getattr(codecs, f"has_{codec}")():
        check(f"produce with {codec or 'none'}", lambda: produce(compression_type=codec))
    else:
        print(f"no {codec} here")
if "enable_idempotence" in KafkaProducer.DEFAULT_CONFIG:
    check("produce idempotently", lambda: produce(count=2000, enable_idempotence=True))
else:
    print("this version is not idempotent")
    check("produce 2,000 records", lambda: produce(count=2000))
check("headers with duplicates and empty ones", headers)
check("consume from an offset by time", by_time)
check("a group of two, joined and left", group)
check("commit and resume", commit_and_resume)
check("delete topics", delete)
finish()
