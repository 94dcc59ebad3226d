import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { before, describe, test } from "node:test";
import { SeededRandom } from "@millrace/base";
import fc from "fast-check";
import { KafkaError } from "../errors.ts";
import type { Codec } from "./codec.ts";
import { gzipCodec } from "./gzip.ts";
import {
  type CompressionType,
  compress,
  compressionById,
  compressionId,
  compressionTypes,
  compressSync,
  decompress,
  loadCodec,
} from "./index.ts";
import { createLz4Codec, lz4Codec } from "./lz4.ts";
import { createSnappyCodec, snappyCodec } from "./snappy.ts";
import { xxhash32 } from "./xxhash32.ts";
import { createWasmCodec, zstdCodec } from "./zstd.ts";

const LIMIT_BYTES = 4 * 1024 * 1024;
const BOMB_BYTES = 32 * 1024 * 1024;

const codecs: readonly { readonly name: string; readonly type: CompressionType; readonly codec: Codec }[] = [
  { name: "gzip", type: "gzip", codec: gzipCodec },
  { name: "snappy", type: "snappy", codec: snappyCodec },
  { name: "snappy without native code", type: "snappy", codec: createSnappyCodec(() => null) },
  { name: "lz4", type: "lz4", codec: lz4Codec },
  { name: "lz4 without native code", type: "lz4", codec: createLz4Codec(() => null) },
  { name: "zstd", type: "zstd", codec: zstdCodec },
  { name: "zstd in WebAssembly", type: "zstd", codec: createWasmCodec() },
];

const random = new SeededRandom(7);

/** 171 KB of lines that resemble each other: what the fixtures hold. */
const lines = Buffer.from(
  Array.from(
    { length: 600 },
    (_, index) => `{"id": ${index}, "name": "${"the same words again and again, ".repeat(8)}"}\n`,
  ).join(""),
);

const inputs: Readonly<Record<string, Buffer>> = {
  nothing: Buffer.alloc(0),
  "one byte": Buffer.from("a"),
  "a short text": Buffer.from("to be or not to be, that is the question"),
  "the same byte again and again": Buffer.alloc(200_000, "x"),
  "bytes that do not compress": random.bytes(150_000),
  "lines of JSON": lines,
  "a period of two bytes": Buffer.alloc(1001, "ab"),
  "exactly a block of lz4": lines.subarray(0, 65536),
  "a byte more than a block of lz4": lines.subarray(0, 65537),
  "long runs between noise": Buffer.concat(
    Array.from({ length: 40 }, (_, index) => Buffer.concat([random.bytes(index * 20), Buffer.alloc(index * 200, 1)])),
  ),
};

/** Runs what may fail only as a KafkaError; null if it did. */
function orKafkaError<T>(run: () => T): T | null {
  try {
    return run();
  } catch (error) {
    assert.ok(error instanceof KafkaError, `${error}`);
    assert.ok(error.code === "CORRUPT_MESSAGE" || error.code === "MESSAGE_TOO_LARGE", error.code);
    return null;
  }
}

before(() => Promise.all(codecs.map(({ codec }) => codec.load())));

for (const { name, type, codec } of codecs) {
  describe(name, () => {
    for (const [what, bytes] of Object.entries(inputs)) {
      test(`gives back ${what}`, async () => {
        assert.ok(codec.decompress(codec.compressSync(bytes), LIMIT_BYTES).equals(bytes));
        assert.ok(codec.decompress(await codec.compress(bytes), LIMIT_BYTES).equals(bytes));
      });
    }

    test("gives back anything", () => {
      const pieces = fc.array(fc.oneof(fc.uint8Array({ maxLength: 40 }), fc.constant(Buffer.from("and so on"))));
      fc.assert(
        fc.property(pieces, (parts) => {
          const bytes = Buffer.concat(parts);

          assert.ok(codec.decompress(codec.compressSync(bytes), LIMIT_BYTES).equals(bytes));
        }),
        { numRuns: 50 },
      );
    });

    test("takes bytes that are part of a larger buffer, and Uint8Arrays", () => {
      const part = new Uint8Array(lines.buffer, lines.byteOffset + 3, 1000);

      const compressed = Buffer.concat([Buffer.alloc(7), codec.compressSync(part), Buffer.alloc(7)]).subarray(7, -7);

      assert.ok(codec.decompress(new Uint8Array(compressed), LIMIT_BYTES).equals(part));
    });

    test("makes repeated text smaller", () => {
      assert.ok(codec.compressSync(lines).length < lines.length / 5);
    });

    test("decompresses to exactly the limit, and to no byte more", () => {
      const compressed = codec.compressSync(lines);
      assert.throws(() => codec.decompress(codec.compressSync(Buffer.from("a")), 0), { code: "MESSAGE_TOO_LARGE" });

      assert.equal(codec.decompress(compressed, lines.length).length, lines.length);
      for (const limitBytes of [lines.length - 1, 70_000, 100, 1, 0]) {
        assert.throws(() => codec.decompress(compressed, limitBytes), { code: "MESSAGE_TOO_LARGE" });
      }
    });

    test("refuses a bomb without holding what it would become", () => {
      const bomb = codec.compressSync(Buffer.alloc(BOMB_BYTES));
      const before = process.memoryUsage().rss;

      for (let round = 0; round < 5; round++) {
        assert.throws(() => codec.decompress(bomb, 1024 * 1024), { code: "MESSAGE_TOO_LARGE" });
      }

      assert.ok(process.memoryUsage().rss - before < BOMB_BYTES);
    });

    test("cut off at any byte is refused as corrupt", () => {
      const compressed = codec.compressSync(lines.subarray(0, 3000));

      for (let length = 0; length < compressed.length; length++) {
        assert.throws(() => codec.decompress(compressed.subarray(0, length), LIMIT_BYTES), { code: "CORRUPT_MESSAGE" });
      }
    });

    test("with any byte changed gives a KafkaError or bytes within the limit: never anything else", () => {
      const compressed = codec.compressSync(Buffer.concat([lines.subarray(0, 2000), random.bytes(300)]));

      for (let at = 0; at < compressed.length; at++) {
        for (const mask of [0x01, 0x80, 0xff]) {
          const changed = Buffer.from(compressed);
          changed[at] = (changed[at] ?? 0) ^ mask;
          const result = orKafkaError(() => codec.decompress(changed, 10_000));
          assert.ok(result === null || result.length <= 10_000);
        }
      }
    });

    test("refuses bytes that were never compressed", () => {
      fc.assert(
        fc.property(fc.uint8Array({ maxLength: 300 }), (bytes) => {
          orKafkaError(() => codec.decompress(bytes, 10_000));
        }),
      );
    });

    test(`is read by every other ${type}`, () => {
      const others = codecs.filter((other) => other.type === type);
      for (const other of others) {
        for (const bytes of Object.values(inputs)) {
          assert.ok(other.codec.decompress(codec.compressSync(bytes), LIMIT_BYTES).equals(bytes));
        }
      }
    });
  });
}

describe("frames of the command line tools", () => {
  interface Frame {
    readonly codec: CompressionType;
    readonly bytes: readonly string[];
  }
  const url = new URL("../../fixtures/frames/command-line-tools.json", import.meta.url);
  const frames: Readonly<Record<string, Frame>> = JSON.parse(readFileSync(url, "utf8"));

  for (const [what, frame] of Object.entries(frames)) {
    const bytes = Buffer.from(frame.bytes.join(""), "base64");
    for (const { name, codec } of codecs.filter(({ type }) => type === frame.codec)) {
      test(`${name} reads ${what}`, () => {
        assert.ok(codec.decompress(bytes, LIMIT_BYTES).equals(lines));
      });

      test(`${name} reads ${what}, two of them one behind the other`, () => {
        const twice = codec.decompress(Buffer.concat([bytes, bytes]), LIMIT_BYTES);

        assert.ok(twice.equals(Buffer.concat([lines, lines])));
      });

      test(`${name} holds ${what} to the limit`, () => {
        assert.throws(() => codec.decompress(bytes, lines.length - 1), { code: "MESSAGE_TOO_LARGE" });
      });
    }
  }

  for (const [what, frame] of Object.entries(frames).filter(([name]) => /lz4.*content checksum/.test(name))) {
    for (const { name, codec } of codecs.filter(({ type }) => type === "lz4")) {
      test(`${name} refuses ${what}, when a literal has changed`, () => {
        const bytes = Buffer.from(frame.bytes.join(""), "base64");
        bytes[20] = (bytes[20] ?? 0) ^ 1;

        assert.throws(() => codec.decompress(bytes, LIMIT_BYTES), { code: "CORRUPT_MESSAGE" });
      });
    }
  }
});

describe("skippable frames", () => {
  const skippable = Buffer.from([0x51, 0x2a, 0x4d, 0x18, 3, 0, 0, 0, 1, 2, 3]);

  for (const { name, codec } of codecs.filter(({ type }) => type === "lz4" || type === "zstd")) {
    test(`are skipped by ${name}`, () => {
      const frame = codec.compressSync(lines);

      assert.ok(codec.decompress(Buffer.concat([skippable, frame, skippable]), LIMIT_BYTES).equals(lines));
    });
  }
});

describe("snappy in xerial framing", () => {
  const header = Buffer.from([0x82, 0x53, 0x4e, 0x41, 0x50, 0x50, 0x59, 0, 0, 0, 0, 1, 0, 0, 0, 1]);
  const framed = (...parts: readonly Buffer[]) =>
    Buffer.concat([
      header,
      ...parts.flatMap((part) => {
        const block = compressSync("snappy", part);
        const size = Buffer.alloc(4);
        size.writeInt32BE(block.length);
        return [size, block];
      }),
    ]);

  test("is read block by block, also where streams were joined", () => {
    const joined = Buffer.concat([framed(Buffer.from("one "), Buffer.from("two ")), framed(Buffer.from("three"))]);

    assert.equal(decompress("snappy", joined, LIMIT_BYTES).toString(), "one two three");
  });

  test("without a block is nothing", () => {
    assert.equal(decompress("snappy", header, LIMIT_BYTES).length, 0);
  });

  test("is held to the limit over all its blocks", () => {
    const blocks = framed(...Array.from({ length: 100 }, () => Buffer.alloc(1000)));

    assert.throws(() => decompress("snappy", blocks, 99_999), { code: "MESSAGE_TOO_LARGE" });
    assert.equal(decompress("snappy", blocks, 100_000).length, 100_000);
  });

  test("cut off inside a block is refused as corrupt", () => {
    const frame = framed(lines.subarray(0, 500), lines.subarray(500, 900));
    const firstEnd = header.length + 4 + frame.readInt32BE(header.length);

    for (let length = 17; length < frame.length; length++) {
      if (length === firstEnd) continue;
      assert.throws(() => decompress("snappy", frame.subarray(0, length), LIMIT_BYTES), { code: "CORRUPT_MESSAGE" });
    }
  });
});

describe("compressions", () => {
  test("have Kafka's numbers", () => {
    assert.deepEqual(compressionTypes.map(compressionId), [0, 1, 2, 3, 4]);
    assert.deepEqual([0, 1, 2, 3, 4, 5, 7].map(compressionById), [...compressionTypes, null, null]);
  });

  test("take a level", async () => {
    await loadCodec("zstd");
    for (const [type, low, high] of [
      ["gzip", 1, 9],
      ["lz4", 1, 17],
      ["zstd", 1, 19],
    ] as const) {
      const highest = await compress(type, lines, high);
      assert.equal(highest.equals(compressSync(type, lines, low)), type === "lz4", "lz4 has one level only");
      assert.ok(decompress(type, highest, LIMIT_BYTES).equals(lines));
    }
  });

  test("none is a view of the same bytes", () => {
    const bytes = new Uint8Array([1, 2, 3]);

    assert.equal(compressSync("none", bytes).buffer, bytes.buffer);
    assert.equal(decompress("none", bytes, LIMIT_BYTES).buffer, bytes.buffer);
  });
});

test("xxhash32 gives the published checksums", () => {
  assert.equal(xxhash32(Buffer.alloc(0)), 0x02cc5d05);
  assert.equal(xxhash32(Buffer.from("a")), 0x550d7456);
  assert.equal(xxhash32(Buffer.from("abc")), 0x32d153ff);
  assert.equal(xxhash32(Buffer.from("Nobody inspects the spammish repetition")), 0xe2293b2f);
});
