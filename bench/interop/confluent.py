"""librdkafka through confluent-kafka: python confluent.py host:port"""

import sys
import time
import uuid

import confluent_kafka
from confluent_kafka import Consumer, Producer, TopicPartition, admin as api
from confluent_kafka.admin import AdminClient, ConfigResource, NewPartitions, NewTopic

from checks import check, expect, finish, wait_until

server = sys.argv[1]
run = uuid.uuid4().hex[:8]
topic = f"confluent-{run}"
codecs = ["none", "gzip", "snappy", "lz4", "zstd"]
admin = AdminClient({"bootstrap.servers": server})
# Debian's 1.7 has producers and consumers like the newest, and fewer admin calls.
has_newer_admin = hasattr(api, "OffsetSpec")
version = confluent_kafka.version()
print(f"confluent-kafka {version if isinstance(version, str) else version[0]}, librdkafka {confluent_kafka.libversion()[0]}")


def consumer(group, **settings):
    return Consumer({"bootstrap.servers": server, "group.id": group, "enable.auto.commit": False,
                     "auto.offset.reset": "earliest", "session.timeout.ms": 6000, **settings})


def read(source, count, seconds=20):
    messages = []
    end = time.monotonic() + seconds
    while len(messages) < count and time.monotonic() < end:
        message = source.poll(0.2)
        if message is not None:
            if message.error():
                raise AssertionError(message.error())
            messages.append(message)
    return messages


def create():
    for future in admin.create_topics([NewTopic(topic, num_partitions=3, replication_factor=1)]).values():
        future.result()


def produce(count=20, **settings):
    reports = []
    producer = Producer({"bootstrap.servers": server, "linger.ms": 5, **settings})
    for index in range(count):
        producer.produce(topic, f"{settings} {index} " + "x" * 200, key=str(index), partition=index % 3,
                         on_delivery=lambda error, message: reports.append((error, message.offset())))
    producer.flush(20)
    expect([error for error, _ in reports if error is not None], [])
    expect(len(reports), count)


def headers():
    given = [("a", b"1"), ("a", b"2"), ("empty", b""), ("null", None)]
    producer = Producer({"bootstrap.servers": server})
    done = []
    producer.produce(topic, b"with headers", headers=given, partition=0, on_delivery=lambda e, m: done.append((e, m)))
    producer.flush(20)
    offset = done[0][1].offset()
    source = consumer("headers-" + run)
    source.assign([TopicPartition(topic, 0, offset)])
    expect(read(source, 1)[0].headers(), given)
    source.close()


def by_time():
    producer = Producer({"bootstrap.servers": server})
    for timestamp in (1_000, 2_000, 3_000):
        producer.produce(topic + "-time", str(timestamp), partition=0, timestamp=timestamp)
    producer.flush(20)
    source = consumer("time-" + run)
    found = source.offsets_for_times([TopicPartition(topic + "-time", 0, 1_500)], timeout=10)
    expect(found[0].offset, 1)
    source.assign(found)
    expect([message.value() for message in read(source, 2)], [b"2000", b"3000"])
    source.close()
    if has_newer_admin:
        latest = admin.list_offsets({TopicPartition(topic + "-time", 0): api.OffsetSpec.max_timestamp()})
        expect([future.result().offset for future in latest.values()], [2])


def group(**settings):
    name = f"group-{run}-{len(settings)}"
    first, second = consumer(name, **settings), consumer(name, **settings)
    first.subscribe([topic])
    held = lambda: (len(first.assignment()), len(second.assignment()))
    poll = lambda: (first.poll(0.05), second.poll(0.05) if held.joined else None)
    held.joined = False
    wait_until("the first member has all", lambda: poll() and held() == (3, 0))
    second.subscribe([topic])
    held.joined = True
    wait_until("both have some", lambda: poll() and sum(held()) == 3 and min(held()) == 1)
    second.close()
    held.joined = False
    wait_until("the first has all again", lambda: poll() and len(first.assignment()) == 3)
    first.close()


def commit_and_resume():
    name = f"resume-{run}"
    source = consumer(name)
    source.subscribe([topic])
    seen = read(source, 10)
    expect(len(seen), 10)
    for message in seen:
        source.commit(message=message, asynchronous=False)
    source.close()
    again = consumer(name)
    again.subscribe([topic])
    total = sum(again.get_watermark_offsets(TopicPartition(topic, p), timeout=10)[1] for p in range(3))
    rest = read(again, total - 10)
    expect(len(rest), total - 10)
    expect({(m.partition(), m.offset()) for m in rest} & {(m.partition(), m.offset()) for m in seen}, set())
    committed = again.committed([TopicPartition(topic, p) for p in range(3)], timeout=10)
    expect(sum(p.offset for p in committed if p.offset > 0), 10)
    again.close()
    expect([(g.id, g.state) for g in admin.list_groups(name, timeout=10)], [(name, "Empty")])
    if has_newer_admin:
        expect(name in [g.group_id for g in admin.list_consumer_groups().result().valid], True)
        expect(admin.describe_consumer_groups([name])[name].result().state.name, "EMPTY")
        wanted = confluent_kafka.ConsumerGroupTopicPartitions(name)
        listed = admin.list_consumer_group_offsets([wanted])[name].result()
        expect(sum(p.offset for p in listed.topic_partitions), 10)
        admin.delete_consumer_groups([name])[name].result()


def administer():
    admin.create_partitions([NewPartitions(topic, 4)])[topic].result()
    resource = ConfigResource(api.RESOURCE_TOPIC, topic)
    if has_newer_admin:
        resource.add_incremental_config(
            api.ConfigEntry("retention.ms", "1234567", incremental_operation=api.AlterConfigOpType.SET))
        altered = admin.incremental_alter_configs([resource])
    else:
        resource.set_config("retention.ms", "1234567")
        altered = admin.alter_configs([resource])
    for future in altered.values():
        future.result()
    configs = list(admin.describe_configs([ConfigResource(api.RESOURCE_TOPIC, topic)]).values())[0].result()
    expect(configs["retention.ms"].value, "1234567")
    if has_newer_admin:
        expect(len(admin.describe_cluster().result().nodes), 1)
        low = admin.delete_records([TopicPartition(topic, 0, 5)])
        expect([future.result().low_watermark for future in low.values()], [5])


def delete():
    for future in admin.delete_topics([topic, topic + "-time"]).values():
        future.result()
    wait_until("the topic is gone", lambda: topic not in admin.list_topics(timeout=10).topics)


check("create a topic", create)
for codec in codecs:
    check(f"produce with {codec}", lambda: produce(**{"compression.type": codec}))
check("produce idempotently", lambda: produce(count=2000, **{"enable.idempotence": True, "compression.type": "lz4"}))
check("headers with duplicates, empty and null", headers)
check("consume from an offset by time", by_time)
check("a group of two, joined and left", group)
check("the same with cooperative-sticky", lambda: group(**{"partition.assignment.strategy": "cooperative-sticky"}))
check("commit and resume", commit_and_resume)
check("partitions and configs" + (", cluster, delete records" if has_newer_admin else ""), administer)
check("delete topics", delete)
finish()
