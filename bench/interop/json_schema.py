"""confluent-kafka's JSON Schema against the built-in registry: python json_schema.py host:port http://host:port"""

import json
import sys
import urllib.request
import uuid

import confluent_kafka
from confluent_kafka import Consumer, Producer
from confluent_kafka.schema_registry import Schema, SchemaReference, SchemaRegistryClient
from confluent_kafka.schema_registry.error import SchemaRegistryError
from confluent_kafka.schema_registry.json_schema import JSONDeserializer, JSONSerializer
from confluent_kafka.serialization import MessageField, SerializationContext

from checks import check, expect, finish

server, url = sys.argv[1:]
run = uuid.uuid4().hex[:8]
topic = f"json-schema-{run}"
subject = f"{topic}-value"
registry = SchemaRegistryClient({"url": f"{url}/schemas"})
context = SerializationContext(topic, MessageField.VALUE)
schema = {
    "$schema": "http://json-schema.org/draft-07/schema#",
    "title": "Order",
    "type": "object",
    "properties": {"id": {"type": "integer"}, "items": {"type": "array", "items": {"type": "object", "required": ["sku"]}}},
    "required": ["id"],
}
wider = Schema(json.dumps({**schema, "required": []}), "JSON")
narrower = Schema(json.dumps({**schema, "required": ["id", "items"]}), "JSON")
print(f"confluent-kafka {confluent_kafka.__version__}")


def call(method, path, body=None):
    data = None if body is None else json.dumps(body).encode()
    with urllib.request.urlopen(urllib.request.Request(url + path, data=data, method=method)) as answer:
        return json.load(answer)


def serialized():
    serialize = JSONSerializer(json.dumps(schema), registry)
    producer = Producer({"bootstrap.servers": server})
    producer.produce(topic, value=serialize({"id": 9007199254740993, "items": [{"sku": "a"}]}, context))
    producer.flush(20)
    [message] = call("GET", f"/api/topics/{topic}/messages?format=jsonschema")
    expect(message["value"], {"id": 9007199254740993, "items": [{"sku": "a"}]})
    expect(message["valueSchemaId"], registry.get_latest_version(subject).schema_id)


def deserialized():
    records = {"records": [{"value": {"id": 8, "items": []}}, {"value": {"id": 9, "items": [{}]}}]}
    answer = call("POST", f"/api/topics/{topic}/produce?value.format=jsonschema&value.schema={subject}", records)
    expect((answer["succeeded"], answer["failed"]), (1, 1))
    expect(answer["offsets"][1]["error"], "record 1: serialize value: /items/0: must have required property 'sku'")
    consumer = Consumer({"bootstrap.servers": server, "group.id": run, "auto.offset.reset": "earliest"})
    consumer.subscribe([topic])
    deserialize = JSONDeserializer(json.dumps(schema), schema_registry_client=registry)
    values = []
    while len(values) < 2:
        message = consumer.poll(30)
        values.append(deserialize(message.value(), context))
    consumer.close()
    expect(values[1], {"id": 8, "items": []})


def found():
    latest = registry.get_latest_version(subject)
    expect(latest.schema.schema_type, "JSON")
    expect(registry.get_schema(latest.schema_id).schema_type, "JSON")
    expect(registry.lookup_schema(subject, Schema(json.dumps(schema, indent=2), "JSON")).schema_id, latest.schema_id)


def referred():
    item = f"item-{run}"
    registry.register_schema(item, Schema('{"type":"object","required":["sku"]}', "JSON"))
    references = [SchemaReference("item.json", item, 1)]
    text = '{"type":"object","properties":{"item":{"$ref":"item.json"}}}'
    serialize = JSONSerializer(Schema(text, "JSON", references), registry)
    box = f"box-{run}"
    call("POST", "/api/topics", {"name": box, "partitions": 1})
    value = serialize({"item": {"sku": 1}}, SerializationContext(box, MessageField.VALUE))
    records = {"records": [{"value": {"item": {}}}, {"value": {"item": {"sku": 2}}}]}
    answer = call("POST", f"/api/topics/{box}/produce?value.format=jsonschema&value.schema={box}-value", records)
    expect((answer["succeeded"], answer["failed"]), (1, 1))
    expect(value[:1], b"\0")


def changed():
    expect(registry.test_compatibility(subject, wider), True)
    expect(registry.test_compatibility(subject, narrower), False)
    try:
        registry.register_schema(subject, narrower)
    except SchemaRegistryError as error:
        expect(error.http_status_code, 409)
    else:
        raise AssertionError("a schema that readers could stumble over was taken")
    registry.register_schema(subject, wider)
    registry.set_compatibility(subject, "NONE")
    registry.register_schema(subject, narrower)
    expect(registry.get_versions(subject), [1, 2, 3])


call("POST", "/api/topics", {"name": topic, "partitions": 1})
check("what its serializer writes is shown over HTTP, with every digit", serialized)
check("what comes over HTTP is checked, and its deserializer reads it", deserialized)
check("schemas are found by subject, id and themselves, with their type", found)
check("a schema refers to another by name", referred)
check("a schema that readers could not do with is refused, unless the level is NONE", changed)
finish()
