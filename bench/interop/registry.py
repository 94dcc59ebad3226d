"""confluent-kafka's client of schema registries against the built-in one: python registry.py host:port http://host:port"""

import json
import sys
import urllib.request
import uuid
from decimal import Decimal

import confluent_kafka
from confluent_kafka import Consumer, Producer
from confluent_kafka.schema_registry import Schema, SchemaRegistryClient
from confluent_kafka.schema_registry.avro import AvroDeserializer, AvroSerializer
from confluent_kafka.schema_registry.error import SchemaRegistryError
from confluent_kafka.serialization import MessageField, SerializationContext

from checks import check, expect, finish

server, url = sys.argv[1:]
run = uuid.uuid4().hex[:8]
topic = f"registry-{run}"
subject = f"{topic}-value"
registry = SchemaRegistryClient({"url": f"{url}/schemas"})
context = SerializationContext(topic, MessageField.VALUE)
decimal = {"type": "bytes", "logicalType": "decimal", "precision": 10, "scale": 2}
schema = {"type": "record", "name": "Order", "fields": [{"name": "id", "type": "long"}, {"name": "total", "type": decimal}]}
other = Schema(json.dumps({**schema, "fields": [{"name": "id", "type": "string"}]}), "AVRO")
print(f"confluent-kafka {confluent_kafka.__version__}")


def call(method, path, body=None):
    data = None if body is None else json.dumps(body).encode()
    with urllib.request.urlopen(urllib.request.Request(url + path, data=data, method=method)) as answer:
        return json.load(answer)


def serialized():
    serialize = AvroSerializer(registry, json.dumps(schema))
    producer = Producer({"bootstrap.servers": server})
    producer.produce(topic, value=serialize({"id": 9007199254740993, "total": Decimal("12.30")}, context))
    producer.flush(20)
    [message] = call("GET", f"/api/topics/{topic}/messages?format=avro")
    expect(message["value"], {"id": 9007199254740993, "total": "12.30"})


def deserialized():
    records = {"records": [{"value": {"id": 8, "total": "0.05"}}]}
    call("POST", f"/api/topics/{topic}/produce?value.format=avro&value.schema={subject}", records)
    consumer = Consumer({"bootstrap.servers": server, "group.id": run, "auto.offset.reset": "earliest"})
    consumer.subscribe([topic])
    deserialize = AvroDeserializer(registry)
    values = []
    while len(values) < 2:
        message = consumer.poll(30)
        values.append(deserialize(message.value(), context))
    consumer.close()
    expect(values[1], {"id": 8, "total": Decimal("0.05")})


def found():
    latest = registry.get_latest_version(subject)
    expect(registry.get_versions(subject), [1])
    expect(registry.get_version(subject, 1).schema_id, latest.schema_id)
    expect(registry.lookup_schema(subject, Schema(json.dumps(schema), "AVRO")).schema_id, latest.schema_id)
    expect(subject in registry.get_subjects(), True)


def refused():
    expect(registry.test_compatibility(subject, other), False)
    try:
        registry.register_schema(subject, other)
    except SchemaRegistryError as error:
        expect(error.http_status_code, 409)
        return
    raise AssertionError("an incompatible schema was taken")


def configured():
    registry.set_compatibility(subject, "FULL")
    expect(registry.get_compatibility(subject), "FULL")
    expect(registry.get_compatibility(), "BACKWARD")
    registry.delete_subject(subject)
    expect(subject in registry.get_subjects(), False)


call("POST", "/api/topics", {"name": topic, "partitions": 1})
check("what its serializer writes is shown over HTTP, with every digit", serialized)
check("what comes over HTTP its deserializer reads", deserialized)
check("schemas are found by subject, version and themselves", found)
check("a schema that readers could not do with is refused", refused)
check("compatibility is set, and a subject deleted", configured)
finish()
