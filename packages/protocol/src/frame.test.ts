import assert from "node:assert/strict";
import { test } from "node:test";
import { WireError } from "./errors.ts";
import {
  decodeRequestHeader,
  decodeResponseBody,
  encodeRequest,
  encodeResponse,
  FrameSplitter,
  skipHeaderTags,
} from "./frame.ts";
import { apiVersionsApi } from "./messages/api-versions.ts";
import { heartbeatApi } from "./messages/heartbeat.ts";
import { Reader } from "./reader.ts";

const LIMIT_BYTES = 1000;
const heartbeat = { groupId: "g", generationId: 1, memberId: "m", groupInstanceId: null };

function frameOf(text: string): Buffer {
  const body = Buffer.from(text);
  const length = Buffer.alloc(4);
  length.writeInt32BE(body.length);
  return Buffer.concat([length, body]);
}

function split(chunks: readonly Buffer[], limitBytes = LIMIT_BYTES): string[] {
  const splitter = new FrameSplitter(limitBytes);
  const frames: string[] = [];
  for (const chunk of chunks) splitter.push(chunk, (frame) => frames.push(frame.toString()));
  assert.equal(splitter.pendingBytes, 0);
  return frames;
}

test("a request header is key, version, correlation id and client id, with tags where the version is flexible", () => {
  const header = { correlationId: 7, clientId: "me" };

  const classic = Buffer.concat(encodeRequest(heartbeatApi, 3, header, heartbeat));
  const flexible = Buffer.concat(encodeRequest(heartbeatApi, 4, header, heartbeat));

  assert.equal(classic.toString("hex", 4, 16), "000c" + "0003" + "00000007" + "00026d65");
  assert.equal(flexible.toString("hex", 4, 17), "000c" + "0004" + "00000007" + "00026d65" + "00");
});

test("a request is read back from its frame", () => {
  for (const clientId of ["me", "", null]) {
    const frame = Buffer.concat(encodeRequest(heartbeatApi, 4, { correlationId: 7, clientId }, heartbeat));
    const reader = new Reader(frame, 4);

    const header = decodeRequestHeader(reader);
    skipHeaderTags(reader);
    const body = heartbeatApi.request.decode(reader, header.apiVersion);
    reader.expectEnd();

    assert.deepEqual(header, { apiKey: 12, apiVersion: 4, correlationId: 7, clientId });
    assert.deepEqual(body, heartbeat);
  }
});

test("a response is read back from its frame, in classic and flexible versions", () => {
  for (const version of [0, 4]) {
    const frame = Buffer.concat(encodeResponse(heartbeatApi, version, 7, { errorCode: 27 }));
    const reader = new Reader(frame, 4);

    assert.equal(reader.int32(), 7);
    assert.deepEqual(decodeResponseBody(heartbeatApi, version, reader), { throttleTimeMs: 0, errorCode: 27 });
  }
});

test("an ApiVersions response has the old header in flexible versions too", () => {
  const frame = Buffer.concat(encodeResponse(apiVersionsApi, 3, 7, { errorCode: 0, apiKeys: [] }));

  assert.equal(frame.toString("hex"), "0000000c" + "00000007" + "0000" + "01" + "00000000" + "00");
});

test("tags of a header that we do not know are skipped", () => {
  const reader = new Reader(Buffer.from("02" + "000199" + "05029999" + "ab", "hex"));

  skipHeaderTags(reader);

  assert.equal(reader.remainingBytes, 1);
});

test("a response with bytes left over is refused", () => {
  const frame = Buffer.concat([...encodeResponse(heartbeatApi, 0, 7, { errorCode: 0 }), Buffer.alloc(1)]);

  assert.throws(() => decodeResponseBody(heartbeatApi, 0, new Reader(frame, 8)), WireError);
});

test("frames are found however the stream is cut", () => {
  const stream = Buffer.concat([frameOf("one"), frameOf(""), frameOf("three three"), frameOf("4")]);
  const expected = ["one", "", "three three", "4"];

  for (let sizeBytes = 1; sizeBytes <= stream.length; sizeBytes++) {
    const chunks: Buffer[] = [];
    for (let start = 0; start < stream.length; start += sizeBytes) {
      chunks.push(stream.subarray(start, start + sizeBytes));
    }
    assert.deepEqual(split(chunks), expected, `in chunks of ${sizeBytes}`);
  }
});

test("frames are found for each two places to cut at", () => {
  const stream = Buffer.concat([frameOf("ab"), frameOf(""), frameOf("c")]);

  for (let first = 0; first <= stream.length; first++) {
    for (let second = first; second <= stream.length; second++) {
      const chunks = [stream.subarray(0, first), stream.subarray(first, second), stream.subarray(second)];
      assert.deepEqual(split(chunks), ["ab", "", "c"], `cut at ${first} and ${second}`);
    }
  }
});

test("a chunk may be written over once it was pushed", () => {
  const stream = Buffer.concat([frameOf("one"), frameOf("two"), frameOf("three")]);
  const splitter = new FrameSplitter(LIMIT_BYTES);
  const frames: Buffer[] = [];
  const reused = Buffer.alloc(stream.length);

  for (let start = 0; start < stream.length; start += 16) {
    const sizeBytes = stream.copy(reused, 0, start, start + 16);
    splitter.push(reused.subarray(0, sizeBytes), (frame) => frames.push(frame));
    reused.fill("x");
  }

  assert.deepEqual(frames.map(String), ["one", "two", "three"]);
});

test("memory for a large frame grows with the bytes that come", () => {
  const splitter = new FrameSplitter(100 * 1024 * 1024);
  const body = Buffer.alloc(1_000_000, "0123456789");
  const frames: Buffer[] = [];
  const externalBytes = process.memoryUsage().arrayBuffers;

  splitter.push(Buffer.from("06400000", "hex"), () => assert.fail());
  splitter.push(Buffer.alloc(1), () => assert.fail());
  assert.ok(process.memoryUsage().arrayBuffers - externalBytes < 10 * 1024 * 1024);

  const next = new FrameSplitter(LIMIT_BYTES * LIMIT_BYTES);
  const bytes = frameOf(body.toString());
  for (let start = 0; start < bytes.length; start += 65_536) {
    next.push(bytes.subarray(start, start + 65_536), (frame) => frames.push(frame));
  }
  assert.deepEqual(frames, [body]);
});

test("a frame of the limit's size may come, one byte more may not", () => {
  assert.deepEqual(split([frameOf("x".repeat(10))], 10), ["x".repeat(10)]);
  assert.throws(() => split([frameOf("x".repeat(11))], 10), WireError);
});

test("a length is refused as soon as its four bytes are there, even one by one", () => {
  const splitter = new FrameSplitter(LIMIT_BYTES);
  const lying = Buffer.from("7fffffff", "hex");

  for (let index = 0; index < 3; index++) splitter.push(lying.subarray(index, index + 1), () => assert.fail());

  assert.throws(() => splitter.push(lying.subarray(3), () => assert.fail()), /frame of 2147483647 bytes/);
});

test("a negative length is refused", () => {
  assert.throws(() => split([Buffer.from("ffffffff", "hex")]), WireError);
});

test("the limit can be raised while frames come", () => {
  const splitter = new FrameSplitter(4);
  const frames: string[] = [];

  splitter.push(frameOf("ab"), (frame) => frames.push(frame.toString()));
  splitter.limitBytes = 10;
  splitter.push(frameOf("abcdefgh"), (frame) => frames.push(frame.toString()));

  assert.deepEqual(frames, ["ab", "abcdefgh"]);
});

test("HTTP on the Kafka port is told apart", () => {
  for (const line of ["GET / HTTP/1.1", "POST /api HTTP/1.1", "OPTIONS * HTTP/1.1"]) {
    assert.throws(() => split([Buffer.from(line)]), /looks like HTTP: is it meant for the HTTP port\?/);
  }
});

test("TLS on a plain port is told apart", () => {
  assert.throws(() => split([Buffer.from("160301020001", "hex")]), /looks like TLS: this port speaks plain text/);
});
