/** What the HTTP Producer API does over any broker: the embedded one, and Apache Kafka. */

import assert from "node:assert/strict";
import { suite, test } from "node:test";
import { type ConsumedRecord, Reader } from "@millrace/client";
import { uniqueTopic } from "./admin-reader-suite.ts";
import { httpCall } from "./http-call.ts";

export interface GatewayUnderTest {
  /** Where the gateway listens: "http://127.0.0.1:8080". */
  readonly url: string;
  /** Where its brokers listen, as "host:port". */
  readonly server: string;
}

/** under: asked when the tests run. */
export function gatewaySuite(name: string, under: () => GatewayUnderTest): void {
  suite(name, { concurrency: false }, () => {
    const call = (method: string, path: string, body?: string | Uint8Array, headers = {}) =>
      httpCall(method, `${under().url}${path}`, body, headers);

    async function createTopic(what: string, partitions = 1): Promise<string> {
      const topic = uniqueTopic(what);
      const { status, text } = await call("POST", "/api/topics", JSON.stringify({ name: topic, partitions }));
      assert.equal(status, 201, text);
      return topic;
    }

    const produce = (topic: string, body: string | Uint8Array, query = "", headers = {}) =>
      call("POST", `/api/topics/${topic}/produce${query}`, body, headers);

    async function readAll(topic: string, count: number, partition = 0): Promise<ConsumedRecord[]> {
      const reader = new Reader({ bootstrapServers: under().server, topic, partition, from: "earliest" });
      try {
        const records: ConsumedRecord[] = [];
        while (records.length < count) records.push(...(await reader.read()));
        return records;
      } finally {
        await reader.close();
      }
    }

    /** Server-sent events, as a browser's EventSource takes them. */
    async function openTail(path: string, headers = {}) {
      const controller = new AbortController();
      const response = await fetch(`${under().url}${path}`, { headers, signal: controller.signal });
      assert.equal(response.status, 200);
      assert.match(response.headers.get("content-type") ?? "", /^text\/event-stream/);
      const events = readEvents(response.body);
      // The first event has no data: it tells that the tail has begun, and where.
      await events.next();
      return {
        async take(count: number) {
          const taken: { id: string; value: string }[] = [];
          while (taken.length < count) {
            const { value: event } = await events.next();
            if (event === undefined) throw new Error("the tail ended");
            if (event.data !== "") taken.push({ id: event.id, value: String(JSON.parse(event.data).value) });
          }
          return taken;
        },
        async close() {
          controller.abort();
          await events.return(undefined).catch(() => {});
        },
      };
    }

    test("a record that the broker refuses fails alone: others share its request, and other requests its batch", async () => {
      const topic = uniqueTopic("refused");
      const config = { "cleanup.policy": "compact" };
      await call("POST", "/api/topics", JSON.stringify({ name: topic, partitions: 1, config }));

      const mixed = await produce(topic, '{"records":[{"key":1,"value":1},{"value":2,"id":7},{"key":3,"value":3}]}');
      const good = Array.from({ length: 20 }, (_, key) => `{"records":[{"key":${key},"value":"good"}]}`);
      const crowd = [...good.slice(0, 10), '{"records":[{"value":"no key"}]}', ...good.slice(10)];
      const answers = await Promise.all(crowd.map((body) => produce(topic, body)));

      const [first, refused, third] = mixed.json.offsets;
      assert.deepEqual([first.offset, third.offset, mixed.json.failed], [0, 1, 1]);
      assert.deepEqual(
        [refused.partition, refused.offset, refused.code, refused.retriable, refused.persisted, refused.id],
        [0, -1, "INVALID_RECORD", false, "no", 7],
      );
      assert.equal(answers.filter(({ json }) => json.offsets[0].offset >= 0).length, 20);
      const all = '{"records":[{"key":1,"value":1},{"value":2}]}';
      const { status, json } = await produce(topic, all, "?atomic=true");
      assert.deepEqual([status, json.code], [422, "ATOMIC_NOT_POSSIBLE"]);
      assert.equal((await readAll(topic, 22)).length, 22);
    });

    test("one record is answered with its partition, offset and timestamp", async () => {
      const topic = await createTopic("single");

      const { status, json } = await produce(topic, '{"records":[{"value":1}]}');

      assert.equal(status, 200);
      const [{ timestamp, ...place }] = json.offsets;
      assert.deepEqual(place, { partition: 0, offset: 0 });
      assert.ok(Math.abs(timestamp - Date.now()) < 60_000);
      assert.deepEqual(Object.keys(json), ["offsets"]);
    });

    test("several records are answered in their order", async () => {
      const topic = await createTopic("batch");
      const records = Array.from({ length: 1000 }, (_, index) => ({ value: index }));

      const { json } = await produce(topic, JSON.stringify({ records }));

      assert.deepEqual(
        json.offsets.map((entry: { offset: number }) => entry.offset),
        records.map((_, index) => index),
      );
      const stored = await readAll(topic, records.length);
      assert.deepEqual(
        stored.map((record) => record.value?.toString()),
        records.map(({ value }) => String(value)),
      );
    });

    test("the bytes of JSON arrive as they were sent", async () => {
      const topic = await createTopic("bytes");
      const values = [
        '{ "b":1.0,  "a":12345678901234567890 }',
        '"\\u00e9\\ud800"',
        '{"a":1,"a":2}',
        '"null"',
        '""',
        "0.0",
      ];

      await produce(topic, `{"records":[${values.map((value) => `{"value": ${value} }`).join(",")}]}`);

      const stored = await readAll(topic, values.length);
      assert.deepEqual(
        stored.map((record) => record.value?.toString()),
        values,
      );
    });

    test("null, left out, empty and the text null are told apart", async () => {
      const topic = await createTopic("null");

      await produce(
        topic,
        '{"records":[{"key":null,"value":null},{},{"key":"","value":""},{"key":"null","value":"null"}]}',
        "?key.format=string&value.format=string",
      );

      const stored = await readAll(topic, 4);
      assert.deepEqual(
        stored.map(({ key, value }) => [key?.toString() ?? null, value?.toString() ?? null]),
        [
          [null, null],
          [null, null],
          ["", ""],
          ["null", "null"],
        ],
      );
    });

    test("key and value have formats of their own, and a record may have others", async () => {
      const topic = await createTopic("formats");

      await produce(
        topic,
        '{"records":[{"key":"user-1","value":"AAH/"},{"key":{"id":7},"value":{"a": 1},"keyFormat":"json","valueFormat":"json"}]}',
        "?key.format=string&value.format=binary",
      );

      const [first, second] = await readAll(topic, 2);
      assert.equal(first?.key?.toString(), "user-1");
      assert.deepEqual([...(first?.value ?? [])], [0, 1, 255]);
      assert.equal(second?.key?.toString(), '{"id":7}');
      assert.equal(second?.value?.toString(), '{"a": 1}');
    });

    test("headers keep order, duplicates, nulls and bytes; the timestamp is the record's own", async () => {
      const topic = await createTopic("headers");

      const { json } = await produce(
        topic,
        '{"records":[{"value":1,"timestamp":1612554282001,"headers":[{"key":"b","value":"é"},{"key":"a","value":null},{"key":"b","value":"AP8=","encoding":"base64"}]},{"value":2,"timestamp":"2021-02-05T19:44:42Z"}]}',
      );

      assert.equal(json.offsets[0].timestamp, 1_612_554_282_001);
      const [first, second] = await readAll(topic, 2);
      assert.deepEqual(
        first?.headers.map(([header, value]) => [header, value?.toString("hex") ?? null]),
        [
          ["b", "c3a9"],
          ["a", null],
          ["b", "00ff"],
        ],
      );
      assert.equal(first?.timestamp, 1_612_554_282_001);
      assert.equal(second?.timestamp, 1_612_554_282_000);
    });

    test("records go to the partition they name, and keys to the partition that Java gives them", async () => {
      const topic = await createTopic("partitions", 6);

      const { json } = await produce(
        topic,
        '{"records":[{"value":1,"partition":4},{"value":1,"partition":0},{"key":"foobar","value":1},{"key":"a-little-bit-long-string","value":1},{"key":"a-little-bit-longer-string","value":1}]}',
        "?key.format=string",
      );

      const partitions = json.offsets.map((entry: { partition: number }) => entry.partition);
      // Kafka's own vectors for murmur2: -790332482, -985981536, -1486304829; without their sign bit, modulo 6.
      assert.deepEqual(partitions, [4, 0, 0, 2, 5]);
    });

    for (const compression of ["none", "gzip", "snappy", "lz4", "zstd"]) {
      test(`records compressed with ${compression} are read back`, async () => {
        const topic = await createTopic(compression);
        const value = JSON.stringify("abc".repeat(1000));

        const { status, text } = await produce(
          topic,
          `{"records":[{"value":${value}},{"value":${value}}]}`,
          `?compression=${compression}`,
        );

        assert.equal(status, 200, text);
        const stored = await readAll(topic, 2);
        assert.deepEqual(
          stored.map((record) => record.value?.toString()),
          [value, value],
        );
      });
    }

    test("a record that fails for its content does not keep the others from being stored", async () => {
      const topic = await createTopic("partial");
      const large = "A".repeat(1_500_000);

      const { status, json } = await produce(
        topic,
        `{"records":[{"value":"Zm9v"},{"value":"!","id":"mine"},{"value":"YmFy","partition":7},{"value":"${large}"},{"key":1,"value":"YmF6"}]}`,
        "?value.format=binary",
      );

      assert.equal(status, 200);
      assert.equal(json.topic, topic);
      assert.equal(json.succeeded, 2);
      assert.equal(json.failed, 3);
      assert.deepEqual(
        json.offsets.map((entry: { offset: number }) => entry.offset),
        [0, -1, -1, -1, 1],
      );
      const [, badBase64, badPartition, tooLarge] = json.offsets;
      assert.match(badBase64.error, /^record 1: serialize value: /);
      assert.deepEqual(
        { ...badBase64, error: "" },
        {
          partition: -1,
          offset: -1,
          error: "",
          code: "SERIALIZATION_FAILED",
          retriable: false,
          persisted: "no",
          index: 1,
          id: "mine",
        },
      );
      assert.equal(badPartition.partition, 7);
      assert.match(badPartition.error, /^record 2: append to topic: /);
      assert.equal(badPartition.code, "INVALID_PARTITIONS");
      assert.equal(tooLarge.code, "MESSAGE_TOO_LARGE");
      assert.deepEqual(
        (await readAll(topic, 2)).map((record) => record.value?.toString()),
        ["foo", "baz"],
      );
    });

    test("records that all fail for their content are answered with 200, and with 422 in strict status", async () => {
      const topic = await createTopic("all-failed");
      const body = '{"records":[{"value":"!"}]}';

      assert.equal((await produce(topic, body, "?value.format=binary")).status, 200);
      assert.equal((await produce(topic, body, "?value.format=binary&status=strict")).status, 422);
    });

    test("strict status tells partial success with 207", async () => {
      const topic = await createTopic("strict");

      const { status } = await produce(
        topic,
        '{"records":[{"value":"!"},{"value":""}]}',
        "?value.format=binary&status=strict",
      );

      assert.equal(status, 207);
    });

    test("details tell index and sizes of every record", async () => {
      const topic = await createTopic("details");

      const { json } = await produce(topic, '{"records":[{"key":"ab","value":null,"id":7}]}', "?details=true");

      const [{ timestamp, ...entry }] = json.offsets;
      assert.equal(typeof timestamp, "number");
      assert.deepEqual(entry, {
        partition: 0,
        offset: 0,
        id: 7,
        index: 0,
        serializedKeySize: 4,
        serializedValueSize: -1,
      });
    });

    test("an unknown topic is answered with 404 before the body is looked at", async () => {
      const { status, json } = await produce(uniqueTopic("missing"), "no json at all");

      assert.equal(status, 404);
      assert.equal(json.error, "topic not found");
      assert.equal(json.code, "TOPIC_NOT_FOUND");
      assert.equal(typeof json.requestId, "string");
    });

    test("a name that no topic can have is an unknown topic", async () => {
      assert.equal((await produce("a%20b", "{}")).status, 404);
      assert.equal((await produce("x".repeat(300), "{}")).status, 404);
    });

    test("nothing is stored of a request whose JSON is broken", async () => {
      const topic = await createTopic("broken");

      const { status, json } = await produce(topic, '{"records":[{"value":1},\n{"value":tru}]}');

      assert.equal(status, 400);
      assert.equal(json.code, "INVALID_JSON");
      assert.deepEqual([json.details[0].index, json.details[0].line, json.details[0].column], [1, 2, 13]);
      await produce(topic, '{"records":[{"value":"first"}]}');
      assert.equal((await readAll(topic, 1))[0]?.value?.toString(), '"first"');
    });

    for (const [body, code] of [
      ["", "INVALID_JSON"],
      ["{}", "NO_RECORDS"],
      ['{"records":[]}', "NO_RECORDS"],
      ['{"records":{}}', "INVALID_BODY"],
      ['{"records":[1]}', "INVALID_BODY"],
      ['{"records":[{"partition":"0"}]}', "INVALID_BODY"],
      ['{"records":[{}]} trailing', "INVALID_JSON"],
    ] as const) {
      test(`a body ${JSON.stringify(body)} is answered with 400 ${code}`, async () => {
        const topic = await createTopic("bad-body");

        const { status, json } = await produce(topic, body);

        assert.equal(status, 400);
        assert.equal(json.code, code);
      });
    }

    for (const query of [
      "key.format=xml",
      "value.format=JSON",
      "compression=brotli",
      "async=yes",
      "acks=2",
      "timeout_ms=soon",
      "status=strictly",
      "compression=gzip&compression=lz4",
    ]) {
      test(`the parameter ${query} is answered with 400`, async () => {
        const topic = await createTopic("bad-query");

        const { status, json } = await produce(topic, '{"records":[{"value":1}]}', `?${query}`);

        assert.equal(status, 400);
        assert.equal(json.code, "INVALID_PARAMETER");
        assert.equal(json.details[0].field, query.split("=")[0]);
      });
    }

    test("a line of NDJSON is a record", async () => {
      const topic = await createTopic("ndjson");

      const { status, json } = await produce(
        topic,
        '{"key":"a","value":{"n": 1}}\r\n\n {"value":null} \n{"value":"last"}',
        "?key.format=string",
        { "content-type": "application/x-ndjson" },
      );

      assert.equal(status, 200);
      assert.equal(json.offsets.length, 3);
      const stored = await readAll(topic, 3);
      assert.deepEqual(
        stored.map(({ key, value }) => [key?.toString() ?? null, value?.toString() ?? null]),
        [
          ["a", '{"n": 1}'],
          [null, null],
          [null, '"last"'],
        ],
      );
    });

    test("nothing is stored of NDJSON with a broken line, and the line is named", async () => {
      const topic = await createTopic("ndjson-broken");
      const headers = { "content-type": "application/x-ndjson" };

      const broken = await produce(topic, '{"value":1}\n{"value":}\n', "", headers);
      const joined = await produce(topic, '{"value":1} {"value":2}', "", headers);
      const spread = await produce(topic, '{"value":\n1}', "", headers);

      assert.equal(broken.status, 400);
      assert.deepEqual([broken.json.details[0].index, broken.json.details[0].line], [1, 2]);
      assert.equal(joined.json.code, "INVALID_JSON");
      assert.equal(spread.json.code, "INVALID_BODY");
      assert.deepEqual((await call("GET", `/api/topics/${topic}/messages`)).json, []);
    });

    for (const [type, query] of [
      ["application/octet-stream", ""],
      ["text/plain; charset=utf-8", ""],
      ["application/json", "&raw=true"],
    ] as const) {
      test(`a body of ${type}${query} is one value, byte for byte`, async () => {
        const topic = await createTopic("raw");
        const body = Buffer.from([0x7b, 0x00, 0xff, 0x0a]);

        const { status, text } = await produce(topic, body, `?key=user-1&timestamp=1612554282001${query}`, {
          "content-type": type,
          "Kafka-Header-Trace": "abc",
        });

        assert.equal(status, 200, text);
        const [record] = await readAll(topic, 1);
        assert.deepEqual(record?.value, body);
        assert.equal(record?.key?.toString(), "user-1");
        assert.equal(record?.timestamp, 1_612_554_282_001);
        assert.equal(record?.headers[0]?.[1]?.toString(), "abc");
        assert.match(record?.headers[0]?.[0] ?? "", /^trace$/i);
      });
    }

    test("the key, the time and the headers of a raw body may all stand in the query", async () => {
      const topic = await createTopic("raw-query");
      const query = "?raw=true&key=k&timestamp=2026-01-31T08:00:00Z&header.Source=b%C3%BCro&header.x=1&header.x=2";

      const { status, text } = await produce(topic, "v", query, { "Kafka-Header-Last": "3" });

      assert.equal(status, 200, text);
      const [record] = await readAll(topic, 1);
      const headers = record?.headers.map(([name, value]) => `${name.toLowerCase()}=${value}`);
      assert.deepEqual(headers, ["source=büro", "x=1", "x=2", "last=3"]);
      assert.equal(record?.timestamp, Date.UTC(2026, 0, 31, 8));
      const yesterday = await produce(topic, "v", "?raw=true&timestamp=yesterday");
      assert.deepEqual([yesterday.status, yesterday.json.details[0].field], [400, "timestamp"]);
    });

    test("a message of text that UTF-8 cannot say is refused", async () => {
      const topic = await createTopic("surrogate");

      const { status, json } = await call("POST", `/api/topics/${topic}/messages`, '{"value":"a\\ud800"}');

      assert.deepEqual([status, json.details[0].field], [400, "value"]);
    });

    test("an empty raw body is an empty value, and its key may come as a header", async () => {
      const topic = await createTopic("raw-empty");

      await produce(topic, "", "", { "content-type": "text/plain", "Kafka-Key": "k" });

      const [record] = await readAll(topic, 1);
      assert.deepEqual([record?.key?.toString(), record?.value?.length], ["k", 0]);
    });

    for (const type of [
      "application/json",
      "application/x-www-form-urlencoded",
      "text/strange; charset=x",
      "strange",
    ]) {
      test(`a body sent as ${type} is the envelope`, async () => {
        const topic = await createTopic("content-type");

        const { status } = await produce(topic, '{"records":[{"value":1}]}', "", { "content-type": type });

        assert.equal(status, 200);
      });
    }

    test("records are stored with acks=1 as well", async () => {
      const topic = await createTopic("acks");

      const { status, json } = await produce(topic, '{"records":[{"value":1}]}', "?acks=1");

      assert.equal(status, 200);
      assert.equal(json.offsets[0].offset, 0);
    });

    test("a topic is created, listed, described and deleted", async () => {
      const topic = await createTopic("life", 3);

      const listed = (await call("GET", "/api/topics")).json;
      const described = (await call("GET", `/api/topics/${topic}`)).json;
      await produce(topic, '{"records":[{"value":1,"partition":1}]}');
      const filled = (await call("GET", `/api/topics/${topic}`)).json;
      const deleted = await call("DELETE", `/api/topics/${topic}`);

      assert.deepEqual(
        listed.find((entry: { name: string }) => entry.name === topic),
        { name: topic, partitions: 3 },
      );
      assert.equal(described.partitions, 3);
      assert.deepEqual(
        filled.partitionDetails.map((entry: { latestOffset: number }) => entry.latestOffset),
        [0, 1, 0],
      );
      assert.equal(deleted.status, 200);
      assert.equal((await call("GET", `/api/topics/${topic}`)).status, 404);
      assert.equal((await call("DELETE", `/api/topics/${topic}`)).status, 404);
      assert.equal((await produce(topic, '{"records":[{"value":1}]}')).status, 404);
    });

    for (const [body, status, code] of [
      [{ name: "a b" }, 400, "INVALID_TOPIC_EXCEPTION"],
      [{ name: "" }, 400, "INVALID_BODY"],
      [{}, 400, "INVALID_BODY"],
      [{ name: "x", partitions: 0 }, 400, "INVALID_BODY"],
      [{ name: "x", partitions: "3" }, 400, "INVALID_BODY"],
      [{ name: "x", config: { "retention.ms": "soon" } }, 400, "INVALID_CONFIG"],
    ] as const) {
      test(`a topic ${JSON.stringify(body)} is refused with ${status} ${code}`, async () => {
        const answer = await call("POST", "/api/topics", JSON.stringify(body));

        assert.equal(answer.status, status, answer.text);
        assert.equal(answer.json.code, code);
      });
    }

    test("a topic that is there is not created again", async () => {
      const topic = await createTopic("twice");

      const { status, json } = await call("POST", "/api/topics", JSON.stringify({ name: topic }));

      assert.equal(status, 409);
      assert.equal(json.code, "TOPIC_ALREADY_EXISTS");
    });

    test("a batch of topics is created whole or not at all", async () => {
      const [first, second, third] = [uniqueTopic("batch"), uniqueTopic("batch"), uniqueTopic("batch")];
      const create = (topics: object[]) => call("POST", "/api/topics/batch", JSON.stringify({ topics }));

      const created = await create([{ name: first, partitions: 2 }, { name: second }]);
      const taken = await create([{ name: third }, { name: first }]);
      const invalid = await create([{ name: third }, { name: "a b" }]);

      assert.equal(created.status, 200, created.text);
      assert.deepEqual([created.json.totalRequested, created.json.successful, created.json.failed], [2, 2, 0]);
      assert.deepEqual(created.json.results[0], { resource: first, success: true, partitions: 2 });
      assert.equal(taken.status, 400);
      assert.equal(taken.json.results[0].code, "TOPIC_ALREADY_EXISTS");
      assert.equal(invalid.status, 400);
      assert.deepEqual([invalid.json.successful, invalid.json.failed], [0, 2]);
      assert.equal((await call("GET", `/api/topics/${third}`)).status, 404);
    });

    test("a batch of topics is deleted only if all are there", async () => {
      const topics = [await createTopic("batch"), await createTopic("batch")];
      const remove = (names: string[]) => call("DELETE", "/api/topics/batch", JSON.stringify({ topics: names }));

      const missing = await remove([...topics, uniqueTopic("missing")]);
      const deleted = await remove(topics);

      assert.equal(missing.status, 400);
      assert.equal(missing.json.errors.length, 1);
      assert.equal(deleted.status, 200, deleted.text);
      assert.equal(deleted.json.successful, 2);
      assert.equal((await call("GET", `/api/topics/${topics[0]}`)).status, 404);
    });

    test("a message of text is produced and read back", async () => {
      const topic = await createTopic("message", 2);

      const produced = await call(
        "POST",
        `/api/topics/${topic}/messages`,
        '{"partition":1,"key":"user-1","value":"{\\"a\\": 1}"}',
      );
      const read = await call("GET", `/api/topics/${topic}/messages?partition=1`);

      assert.equal(produced.status, 201);
      assert.deepEqual(produced.json, { partition: 1, offset: 0 });
      const [{ timestamp, ...message }] = read.json;
      assert.equal(typeof timestamp, "number");
      assert.deepEqual(message, { partition: 1, offset: 0, key: "user-1", value: '{"a": 1}' });
    });

    test("messages that are not text come as base64, and JSON is embedded when asked for", async () => {
      const topic = await createTopic("messages");
      await produce(
        topic,
        '{"records":[{"value":{"n": 12345678901234567890},"valueFormat":"json"},{"value":"/wA="},{"value":"YWJj","headers":[{"key":"h","value":"v"}]}]}',
        "?value.format=binary",
      );

      const asText = await call("GET", `/api/topics/${topic}/messages`);
      const asJson = await call("GET", `/api/topics/${topic}/messages?format=json`);

      assert.equal(asText.json[0].value, '{"n": 12345678901234567890}');
      assert.deepEqual([asText.json[1].value, asText.json[1].valueEncoding], ["/wA=", "base64"]);
      assert.deepEqual(asText.json[2].headers, [{ key: "h", value: "v" }]);
      assert.ok(asJson.text.includes('"value":{"n": 12345678901234567890}'));
      assert.deepEqual([asJson.json[2].value, asJson.json[2].valueEncoding], ["abc", "utf8"]);
    });

    test("messages are read from an offset, up to a limit, and [] where there are none", async () => {
      const topic = await createTopic("offsets");
      const records = Array.from({ length: 10 }, (_, value) => ({ value }));
      await produce(topic, JSON.stringify({ records }));
      const offsets = async (query: string) => {
        const { json } = await call("GET", `/api/topics/${topic}/messages?${query}`);
        return json.map((message: { offset: number }) => message.offset);
      };

      assert.deepEqual(await offsets("offset=3&limit=2"), [3, 4]);
      assert.deepEqual(await offsets("offset=8"), [8, 9]);
      assert.deepEqual(await offsets("offset=10"), []);
      assert.deepEqual(await offsets("offset=99"), []);
    });

    for (const [query, status] of [
      ["partition=9", 404],
      ["partition=-1", 400],
      ["offset=x", 400],
      ["limit=0", 400],
      ["format=xml", 400],
      ["value.format=xml", 400],
      ["time=yesterday", 400],
      ["offset=1&time=1", 400],
      ["tail=1&offset=1", 400],
      ["tail=0", 400],
      ["position=0", 400],
      ["position=0-", 400],
    ] as const) {
      test(`messages with ${query} are answered with ${status}`, async () => {
        const topic = await createTopic("bad-messages");

        assert.equal((await call("GET", `/api/topics/${topic}/messages?${query}`)).status, status);
      });
    }

    test("messages of all partitions come in the order of their time, and a position goes on where an answer ended", async () => {
      const topic = await createTopic("all-partitions", 3);
      const records = Array.from({ length: 9 }, (_, index) => ({
        value: index,
        partition: index % 3,
        timestamp: 1_700_000_000_000 + index * 1000,
      }));
      await produce(topic, JSON.stringify({ records }));
      const values = async (query: string) => {
        const { json, headers } = await call("GET", `/api/topics/${topic}/messages?${query}`);
        const found = json.map((message: { value: string }) => Number(message.value));
        return { found, position: headers.get("millrace-position") ?? "" };
      };

      assert.deepEqual((await values("")).found, [0, 1, 2, 3, 4, 5, 6, 7, 8]);
      assert.deepEqual((await values("offset=2")).found, [6, 7, 8]);
      assert.deepEqual((await values("partition=1&offset=1")).found, [4, 7]);
      assert.deepEqual((await values("tail=4")).found, [5, 6, 7, 8]);
      assert.deepEqual((await values("time=1700000006000")).found, [6, 7, 8]);
      assert.deepEqual((await values("time=2023-11-14T22:13:27Z")).found, [7, 8]);
      assert.deepEqual((await values("time=4000000000000")).found, []);

      const first = await values("limit=4");
      const second = await values(`limit=4&position=${first.position}`);
      const third = await values(`limit=4&position=${second.position}`);
      const fourth = await values(`position=${third.position}`);
      assert.deepEqual([first.found, second.found, third.found], [[0, 1, 2, 3], [4, 5, 6, 7], [8]]);
      assert.deepEqual(fourth.found, []);
    });

    test("keys and values may be shown in formats of their own", async () => {
      const topic = await createTopic("read-formats");
      await produce(topic, '{"records":[{"key":"user-1","value":{"n": 1.0}}]}', "?key.format=string");

      const { text } = await call("GET", `/api/topics/${topic}/messages?key.format=binary&value.format=json`);

      assert.ok(text.includes('"key":"dXNlci0x","value":{"n": 1.0}'), text);
    });

    test("a partition that a topic has got since is produced to at once", async () => {
      const topic = await createTopic("grown");
      await produce(topic, '{"records":[{"value":1}]}');

      await call("PATCH", `/api/topics/${topic}`, '{"partitions":3}');
      const grown = await produce(topic, '{"records":[{"value":2,"partition":2}]}');
      await call("DELETE", `/api/topics/${topic}`);
      await call("POST", "/api/topics", JSON.stringify({ name: topic, partitions: 5 }));
      const anew = await produce(topic, '{"records":[{"value":3,"partition":4}]}', "?atomic=true");

      assert.deepEqual([grown.status, grown.json.offsets?.[0].offset], [200, 0], grown.text);
      assert.deepEqual([anew.status, anew.json.offsets?.[0].offset], [200, 0], anew.text);
    });

    test("a tail tells of messages as they come, and who comes back misses none and gets none twice", async () => {
      const topic = await createTopic("tail", 2);
      await produce(topic, '{"records":[{"value":"before","partition":0}]}');
      const tail = await openTail(`/api/topics/${topic}/tail`);
      await produce(topic, '{"records":[{"value":1,"partition":0},{"value":2,"partition":1}]}');
      const first = await tail.take(1);
      await tail.close();
      await produce(topic, '{"records":[{"value":3,"partition":0}]}');

      const resumed = await openTail(`/api/topics/${topic}/tail`, { "last-event-id": first[0]?.id ?? "" });
      const rest = await resumed.take(2);
      await resumed.close();
      const whole = await openTail(`/api/topics/${topic}/tail?offset=0&format=json`);
      const all = await whole.take(4);
      await whole.close();

      const told = [...first, ...rest].map(({ value }) => value);
      assert.deepEqual(told.sort(), ["1", "2", "3"]);
      assert.equal(all.length, 4);
    });

    test("a tail may begin with the newest messages, so many over all partitions", async () => {
      const topic = await createTopic("newest", 3);
      for (const partition of [0, 1, 2, 0, 1]) {
        await produce(topic, JSON.stringify({ records: [{ partition, value: partition }] }));
      }

      const tail = await openTail(`/api/topics/${topic}/tail?tail=2`);
      await produce(topic, '{"records":[{"partition":2,"value":"next"}]}');
      const taken = await tail.take(3);
      await tail.close();

      assert.deepEqual(taken.map(({ value }) => value).sort(), ['"next"', "0", "1"]);
    });

    test("a tail of a topic that is not there, or from no position, is refused", async () => {
      const topic = await createTopic("no-tail");

      const missing = await call("GET", `/api/topics/${uniqueTopic("missing")}/tail`);
      const wrong = await call("GET", `/api/topics/${topic}/tail`, undefined, { "last-event-id": "yesterday" });

      assert.equal(missing.status, 404);
      assert.deepEqual([wrong.status, wrong.json.details[0].field], [400, "last-event-id"]);
    });

    for (const method of ["PATCH", "PUT"]) {
      test(`a topic's settings and partitions are changed by ${method}`, async () => {
        const topic = await createTopic("alter", 2);
        const alter = (body: object) => call(method, `/api/topics/${topic}`, JSON.stringify(body));

        const set = await alter({ config: { "retention.ms": 60_000, "cleanup.policy": "compact" }, partitions: 4 });
        const unset = await alter({ config: { "cleanup.policy": null } });
        const fewer = await alter({ partitions: 3 });
        const unknown = await alter({ config: { "retention.ms": "soon" } });
        const { status } = await produce(topic, '{"records":[{"value":1,"partition":3}]}');

        assert.equal(set.status, 200, set.text);
        assert.deepEqual([set.json.partitions, set.json.config["retention.ms"]], [4, "60000"]);
        assert.equal(set.json.config["cleanup.policy"], "compact");
        assert.equal(unset.json.config["cleanup.policy"], undefined);
        assert.equal(unset.json.config["retention.ms"], "60000");
        assert.deepEqual([fewer.status, fewer.json.code], [400, "INVALID_PARTITIONS"]);
        assert.deepEqual([unknown.status, unknown.json.code], [400, "INVALID_CONFIG"]);
        assert.equal(status, 200);
        const missing = await call(method, `/api/topics/${uniqueTopic("missing")}`, "{}");
        assert.deepEqual([missing.status, missing.json.code], [404, "TOPIC_NOT_FOUND"]);
      });
    }

    test("a topic's description tells how large it is", async () => {
      const topic = await createTopic("size", 2);
      await produce(topic, `{"records":[{"value":"${"x".repeat(10_000)}","partition":1}]}`);

      const { json } = await call("GET", `/api/topics/${topic}`);

      assert.ok(json.sizeBytes >= 10_000, JSON.stringify(json));
      assert.equal(json.partitionDetails[0].sizeBytes, 0);
      assert.equal(json.partitionDetails[1].sizeBytes, json.sizeBytes);
    });

    test("health tells that it lives and is ready", async () => {
      assert.deepEqual((await call("GET", "/health/live")).json, { alive: true });
      assert.deepEqual((await call("GET", "/api/health/live")).json, { alive: true });
      assert.deepEqual((await call("GET", "/health/ready")).json, { ready: true });
      assert.deepEqual((await call("GET", "/api/health/ready")).json, { ready: true });
      assert.equal((await call("GET", "/api/health")).json.status, "healthy");
    });
  });
}

async function* readEvents(body: ReadableStream<Uint8Array> | null) {
  if (body === null) return;
  const decoder = new TextDecoder();
  let text = "";
  for await (const bytes of body) {
    text += decoder.decode(bytes, { stream: true });
    for (let end = text.indexOf("\n\n"); end >= 0; end = text.indexOf("\n\n")) {
      const lines = text.slice(0, end).split("\n");
      text = text.slice(end + 2);
      const field = (name: string) => lines.find((line) => line.startsWith(`${name}: `))?.slice(name.length + 2) ?? "";
      yield { id: field("id"), data: field("data") };
    }
  }
}
