/** What real clients and a real Apache Kafka said to each other, as scripts/capture-messages.mjs recorded it. */

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { decodeRequestHeader, decodeResponseBody, encodeRequest, encodeResponse, skipHeaderTags } from "../frame.ts";
import { Reader } from "../reader.ts";
import type { Api, Shape, Type } from "../schema.ts";
import { apis } from "./index.ts";

interface Fixture {
  readonly api: string;
  readonly version: number;
  readonly kind: "request" | "response";
  readonly client: string;
  readonly frame: string;
}

const path = join(import.meta.dirname, "../../fixtures/messages.ndjson");
const fixtures: readonly Fixture[] = readFileSync(path, "utf8")
  .trim()
  .split("\n")
  .map((line) => JSON.parse(line));

for (const fixture of fixtures) {
  const { api, version, kind, client } = fixture;
  const number = fixtures.filter((other) => other.api === api).indexOf(fixture);
  test(`${api} version ${version} ${kind} of ${client} (${number}) is read and written as the same bytes`, () => {
    const bytes = Buffer.from(fixture.frame, "base64");
    const declared = apis.find((candidate) => candidate.name === api);
    assert(declared);

    const rewritten = kind === "request" ? rewriteRequest(declared, bytes) : rewriteResponse(declared, version, bytes);

    assert.equal(rewritten.toString("hex", 4), bytes.toString("hex"));
    assert.equal(rewritten.readInt32BE(0), bytes.length);
  });
}

function rewriteRequest(api: Api, bytes: Buffer): Buffer {
  const reader = new Reader(bytes);
  const header = decodeRequestHeader(reader);
  if (header.apiVersion >= api.flexibleSince) skipHeaderTags(reader);
  const body = api.request.decode(reader, header.apiVersion);
  reader.expectEnd();
  return Buffer.concat(encodeRequest(api, header.apiVersion, header, inputOf(api.request.shape, body)));
}

function rewriteResponse(api: Api, version: number, bytes: Buffer): Buffer {
  const reader = new Reader(bytes);
  const correlationId = reader.int32();
  const body = decodeResponseBody(api, version, reader);
  return Buffer.concat(encodeResponse(api, version, correlationId, inputOf(api.response.shape, body)));
}

/** Records are read as one view and written from a list of chunks; all else is written as it is read. */
function inputOf(shape: Shape, values: unknown): unknown {
  const entries = Object.entries(values ?? {}).map(([name, value]) => {
    const field = shape[name];
    assert(field);
    return [name, inputValue(field.type, value)];
  });
  return Object.fromEntries(entries);
}

function inputValue(type: Type, value: unknown): unknown {
  if (value === null) return null;
  if (type.kind === "records") return [value];
  if (type.element?.shape === undefined || !Array.isArray(value)) return value;
  const { shape } = type.element;
  return value.map((item) => inputOf(shape, item));
}
