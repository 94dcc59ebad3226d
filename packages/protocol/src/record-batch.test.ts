import assert from "node:assert/strict";
import { readdirSync, readFileSync } from "node:fs";
import { before, describe, test } from "node:test";
import { type CompressionType, compressionId, compressSync, loadCodec } from "./compression/index.ts";
import { crc32c } from "./crc32c.ts";
import { KafkaError, WireError } from "./errors.ts";
import {
  assignOffset,
  BATCH_HEADER_BYTES,
  type DecodedRecord,
  isBatchCrcValid,
  readBatchHeader,
  readRecords,
  setLogAppendTime,
  splitBatches,
} from "./record-batch.ts";

const fixtures = new URL("../fixtures/batches/", import.meta.url);

interface Fixture {
  readonly source: string;
  readonly compression: CompressionType;
  readonly content: "users" | "lines";
  readonly batches: readonly (readonly string[])[];
}

function readFixture(fileName: string): { readonly fixture: Fixture; readonly batches: readonly Buffer[] } {
  const fixture: Fixture = JSON.parse(readFileSync(new URL(fileName, fixtures), "utf8"));
  return { fixture, batches: fixture.batches.map((lines) => Buffer.from(lines.join(""), "base64")) };
}

/** One batch of Java's, not compressed: 60 records with keys and headers. */
function plainBatch(): Buffer {
  const [batch] = readFixture("java-none.json").batches;
  assert.ok(batch);
  return batch;
}

/** The batch with its records replaced, a right length and a right CRC. */
function withRecords(batch: Buffer, records: Uint8Array, type: CompressionType = "none"): Buffer {
  const result = Buffer.concat([batch.subarray(0, BATCH_HEADER_BYTES), records]);
  result.writeInt32BE(result.length - 12, 8);
  result.writeInt16BE(compressionId(type), 21);
  result.writeUInt32BE(crc32c(result.subarray(21)), 17);
  return result;
}

/** The same in a form that deepEqual compares. */
function texts(records: readonly DecodedRecord[]) {
  return records.map(({ key, value, headers }) => ({
    key: key?.toString() ?? null,
    value: value?.toString() ?? null,
    headers: headers.map(([name, bytes]) => [name, bytes?.toString() ?? null]),
  }));
}

function user(index: number, headers: readonly (readonly [string, string | null])[]) {
  const amount = (index * 1.5).toFixed(1);
  const note = "the same words again and again";
  return {
    key: `user-${index % 7}`,
    value: `{"id": ${index}, "name": "größe-${index % 5}", "amount": ${amount}, "note": "${note}"}`,
    headers,
  };
}

function line(index: number) {
  const value = `{"id": ${index}, "name": "${"the same words again and again, ".repeat(8)}"}`;
  return { key: null, value, headers: [] };
}

function expectedOf(source: string, content: Fixture["content"]) {
  if (content === "lines") return Array.from({ length: 600 }, (_, index) => line(index));
  return Array.from({ length: 60 }, (_, index) => {
    const trace = index.toString(16).padStart(4, "0");
    const java = [
      ["trace", trace],
      ["source", "test"],
    ] as const;
    const kcat = [
      ["source", "test"],
      ["empty", ""],
      ["nothing", null],
    ] as const;
    return user(index, source.startsWith("kcat") ? kcat : java);
  });
}

before(() => loadCodec("zstd"));

describe("batches from Kafka's own log", () => {
  for (const fileName of readdirSync(fixtures)) {
    test(`${fileName.replace(".json", "")} gives the records that were sent`, () => {
      const { fixture, batches } = readFixture(fileName);

      const records = batches.flatMap((batch) => readRecords(batch));

      assert.deepEqual(texts(records), expectedOf(fixture.source, fixture.content));
      assert.deepEqual(
        records.map((record) => record.offset),
        records.map((_, index) => BigInt(index)),
      );
      for (const batch of batches) {
        const header = readBatchHeader(batch);
        assert.equal(header.compression, fixture.compression);
        assert.equal(header.sizeBytes, batch.length);
        assert.ok(isBatchCrcValid(batch));
        const times = records.map((record) => record.timestamp);
        assert.ok(times.includes(header.maxTimestamp) && times.every((time) => time <= header.maxTimestamp));
      }
    });
  }
});

describe("a batch header", () => {
  test("holds what the producer and the broker wrote", () => {
    const header = readBatchHeader(plainBatch());

    assert.equal(header.baseOffset, 0n);
    assert.equal(header.partitionLeaderEpoch, 0);
    assert.equal(header.magic, 2);
    assert.equal(header.lastOffsetDelta, 59);
    assert.equal(header.recordCount, 60);
    assert.equal(header.timestampType, "CreateTime");
    assert.equal(header.isTransactional, false);
    assert.equal(header.isControl, false);
    assert.ok(header.producerId >= 0n, "Java's console producer is idempotent");
    assert.equal(header.producerEpoch, 0);
    assert.equal(header.baseSequence, 0);
  });

  test("is refused when it is cut off", () => {
    assert.throws(() => readBatchHeader(plainBatch().subarray(0, 60)), WireError);
  });

  for (const [what, at, value] of [
    ["of the old formats 0 and 1", 16, 1],
    ["with a compression that does not exist", 22, 7],
    ["with a negative last offset delta", 23, 0x80],
    ["with a negative record count", 57, 0x80],
    ["with a negative length", 8, 0x80],
  ] as const) {
    test(`is refused ${what}`, () => {
      const batch = Buffer.from(plainBatch());
      batch[at] = value;

      assert.throws(() => readBatchHeader(batch), WireError);
    });
  }
});

describe("a patched batch", () => {
  test("keeps its CRC when it is given an offset", () => {
    const bytes = Buffer.concat([Buffer.alloc(5), plainBatch()]);

    assignOffset(bytes, 5, 2n ** 40n, 7);

    assert.ok(isBatchCrcValid(bytes, 5));
    assert.equal(readBatchHeader(bytes, 5).partitionLeaderEpoch, 7);
    assert.equal(readRecords(bytes.subarray(5)).at(-1)?.offset, 2n ** 40n + 59n);
  });

  test("has the broker's time in all its records once log append time is set", () => {
    const bytes = Buffer.concat([Buffer.alloc(5), plainBatch()]);

    setLogAppendTime(bytes, 5, 1234n);

    assert.ok(isBatchCrcValid(bytes, 5));
    assert.equal(readBatchHeader(bytes, 5).timestampType, "LogAppendTime");
    assert.ok(readRecords(bytes.subarray(5)).every((record) => record.timestamp === 1234n));
  });

  test("has a wrong CRC after any byte from the attributes on has changed", () => {
    const batch = plainBatch();

    for (let at = 21; at < batch.length; at += 13) {
      const changed = Buffer.from(batch);
      changed[at] = (changed[at] ?? 0) ^ 1;
      assert.equal(isBatchCrcValid(changed), false, `byte ${at}`);
    }
  });

  test("that is not there whole has no valid CRC, at any length", () => {
    const batch = plainBatch();

    for (let length = 0; length < batch.length; length += 11) {
      assert.equal(isBatchCrcValid(batch.subarray(0, length)), false);
    }
  });
});

describe("batches one behind the other", () => {
  const batch = plainBatch();
  const three = Buffer.concat([batch, batch, batch]);

  test("are split at their ends", () => {
    const split = [...splitBatches(three)];

    assert.equal(split.length, 3);
    assert.ok(split.every((part) => part.bytes.equals(batch) && part.header.recordCount === 60));
  });

  test("end silently before one that is cut off, wherever that is", () => {
    for (let length = 0; length < three.length; length += 97) {
      assert.equal([...splitBatches(three.subarray(0, length))].length, Math.floor(length / batch.length));
    }
  });

  test("throw at one that is none", () => {
    const broken = Buffer.from(three);
    broken[batch.length + 16] = 1;

    assert.throws(() => [...splitBatches(broken)], WireError);
  });
});

describe("records", () => {
  const batch = plainBatch();
  const plain = batch.subarray(BATCH_HEADER_BYTES);

  test("of an emptied batch, as compaction leaves them, are none", () => {
    const emptied = withRecords(batch, Buffer.alloc(0));
    emptied.writeInt32BE(0, 57);

    assert.deepEqual(readRecords(emptied), []);
  });

  test("are refused when there are fewer than the header says", () => {
    const more = withRecords(batch, plain);
    more.writeInt32BE(61, 57);

    assert.throws(() => readRecords(more), WireError);
  });

  test("are refused when there are more than the header says", () => {
    const fewer = withRecords(batch, plain);
    fewer.writeInt32BE(59, 57);

    assert.throws(() => readRecords(fewer), WireError);
  });

  test("are refused when bytes follow the last", () => {
    assert.throws(() => readRecords(withRecords(batch, Buffer.concat([plain, Buffer.alloc(1)]))), WireError);
  });

  test("are refused when the count is more than their bytes could hold, before anything is allocated", () => {
    const many = withRecords(batch, plain);
    many.writeInt32BE(2 ** 31 - 1, 57);

    assert.throws(() => readRecords(many), /2147483647 records in/);
  });

  test("are refused when their offsets go backwards", () => {
    const twice = Buffer.from([12, 0, 0, 0, 1, 1, 0]);
    const two = withRecords(batch, Buffer.concat([twice, twice]));
    two.writeInt32BE(2, 57);

    assert.throws(() => readRecords(two), /offset delta 0 behind 0/);
  });

  test("are refused when a header's name is null", () => {
    const one = withRecords(batch, Buffer.from([16, 0, 0, 0, 1, 1, 2, 1, 1]));
    one.writeInt32BE(1, 57);

    assert.throws(() => readRecords(one), WireError);
  });

  test("may have gaps between their offsets, as compaction leaves them", () => {
    const gap = withRecords(batch, Buffer.from([12, 0, 0, 4, 1, 1, 0, 12, 0, 0, 80, 1, 1, 0]));
    gap.writeInt32BE(2, 57);

    assert.deepEqual(
      readRecords(gap).map((record) => record.offset),
      [2n, 40n],
    );
  });

  test("of a batch with another's bytes behind it are refused", () => {
    assert.throws(() => readRecords(Buffer.concat([batch, batch])), WireError);
  });

  test("cut off at any byte, or with any bit turned, give a KafkaError or records: never anything else", () => {
    for (let at = 0; at < plain.length; at += 3) {
      const turned = Buffer.from(plain);
      turned[at] = (turned[at] ?? 0) ^ (1 << (at % 8));
      for (const records of [plain.subarray(0, at), turned]) {
        try {
          readRecords(withRecords(batch, records));
        } catch (error) {
          assert.ok(error instanceof KafkaError, String(error));
        }
      }
    }
  });

  test("that decompress to more than the limit are refused", () => {
    const bomb = withRecords(batch, compressSync("gzip", Buffer.alloc(10_000_000)), "gzip");

    assert.throws(() => readRecords(bomb, 1_000_000), { code: "MESSAGE_TOO_LARGE" });
  });
});
