/** Frames and headers: a length of four bytes, a header, a body. */

import { formatBytes } from "@millrace/base";
import { WireError } from "./errors.ts";
import type { Reader } from "./reader.ts";
import type { Api } from "./schema.ts";
import { Writer } from "./writer.ts";

const API_VERSIONS_KEY = 18;
const LENGTH_BYTES = 4;

export interface RequestHeader {
  readonly apiKey: number;
  readonly apiVersion: number;
  readonly correlationId: number;
  readonly clientId: string | null;
}

/** One request as a frame, ready for one gathered write. */
export function encodeRequest<RequestInput>(
  api: Api<unknown, RequestInput, unknown, unknown>,
  version: number,
  header: { readonly correlationId: number; readonly clientId: string | null },
  body: RequestInput,
): Uint8Array[] {
  const writer = new Writer();
  writer.beginFrame();
  writer.int16(api.key);
  writer.int16(version);
  writer.int32(header.correlationId);
  // The client id stays a classic string in header version 2 too, so that any broker can read it (KIP-482).
  if (header.clientId === null) writer.int16(-1);
  else {
    const sizeBytes = Buffer.byteLength(header.clientId);
    writer.int16(sizeBytes);
    writer.utf8(header.clientId, sizeBytes);
  }
  if (version >= api.flexibleSince) writer.unsignedVarint(0);
  api.request.encode(writer, version, body);
  return writer.finishFrame();
}

/**
 * Reads the part of a request header that all its versions share, up to the client id.
 *
 * The tagged fields of a flexible header come after it: `skipHeaderTags` once the API is known.
 */
export function decodeRequestHeader(reader: Reader): RequestHeader {
  const apiKey = reader.int16();
  const apiVersion = reader.int16();
  const correlationId = reader.int32();
  const clientIdBytes = reader.int16();
  const clientId = clientIdBytes < 0 ? null : reader.utf8(clientIdBytes);
  return { apiKey, apiVersion, correlationId, clientId };
}

export function skipHeaderTags(reader: Reader): void {
  const count = reader.unsignedVarint();
  for (let index = 0; index < count; index++) {
    reader.unsignedVarint();
    reader.take(reader.unsignedVarint());
  }
}

/** One response as a frame, ready for one gathered write. */
export function encodeResponse<ResponseInput>(
  api: Api<unknown, unknown, unknown, ResponseInput>,
  version: number,
  correlationId: number,
  body: ResponseInput,
): Uint8Array[] {
  const writer = new Writer();
  writer.beginFrame();
  writer.int32(correlationId);
  if (hasFlexibleResponseHeader(api, version)) writer.unsignedVarint(0);
  api.response.encode(writer, version, body);
  return writer.finishFrame();
}

/** Reads a whole response frame behind its correlation id. Fails if bytes are left over. */
export function decodeResponseBody<Response>(
  api: Api<unknown, unknown, Response, unknown>,
  version: number,
  reader: Reader,
): Response {
  if (hasFlexibleResponseHeader(api, version)) skipHeaderTags(reader);
  const body = api.response.decode(reader, version);
  reader.expectEnd();
  return body;
}

/** ApiVersions answers with the old header for ever: its reader does not know yet what we speak (KIP-511). */
function hasFlexibleResponseHeader(
  api: { readonly key: number; readonly flexibleSince: number },
  version: number,
): boolean {
  return version >= api.flexibleSince && api.key !== API_VERSIONS_KEY;
}

/**
 * Cuts a stream of bytes into frames.
 *
 * A frame that came whole in one chunk is a view of that chunk. One that did not is gathered as it arrives: the length
 * it declares is believed only as far as limitBytes, and never allocated before the bytes are there.
 */
export class FrameSplitter {
  /** May be raised while running: brokers allow little before they know their client. */
  limitBytes: number;
  #pending: Buffer[] = [];
  #pendingBytes = 0;
  #frameBytes: number | null = null;

  constructor(limitBytes: number) {
    this.limitBytes = limitBytes;
  }

  /** Bytes of a frame that is not complete yet. */
  get pendingBytes(): number {
    return this.#pendingBytes;
  }

  /** Calls onFrame for each frame that this chunk completes. Throws WireError for a length that no frame may have. */
  push(chunk: Buffer, onFrame: (frame: Buffer) => void): void {
    let rest = chunk;
    if (this.#pendingBytes > 0) {
      const missingBytes = (this.#frameBytes ?? LENGTH_BYTES) - this.#pendingBytes;
      if (rest.length < missingBytes) {
        this.#keep(rest);
        return;
      }
      this.#keep(rest.subarray(0, missingBytes));
      const gathered =
        this.#pending.length === 1 && this.#pending[0]
          ? this.#pending[0]
          : Buffer.concat(this.#pending, this.#pendingBytes);
      rest = rest.subarray(missingBytes);
      this.#pending = [];
      this.#pendingBytes = 0;
      if (this.#frameBytes === null) {
        this.#frameBytes = this.#readLength(gathered);
      } else {
        this.#frameBytes = null;
        onFrame(gathered);
      }
    }
    for (;;) {
      if (this.#frameBytes === null) {
        if (rest.length < LENGTH_BYTES) break;
        this.#frameBytes = this.#readLength(rest);
        rest = rest.subarray(LENGTH_BYTES);
      }
      const frameBytes = this.#frameBytes;
      if (rest.length < frameBytes) break;
      this.#frameBytes = null;
      onFrame(rest.subarray(0, frameBytes));
      rest = rest.subarray(frameBytes);
    }
    if (rest.length > 0) this.#keep(rest);
  }

  #keep(bytes: Buffer): void {
    this.#pending.push(bytes);
    this.#pendingBytes += bytes.length;
  }

  #readLength(bytes: Buffer): number {
    const length = bytes.readInt32BE(0);
    if (length >= 0 && length <= this.limitBytes) return length;
    throw new WireError(
      `frame of ${length} bytes; at most ${formatBytes(this.limitBytes)} may come${foreignProtocolHint(bytes)}`,
      0,
    );
  }
}

/** Who it may be that speaks something else to a Kafka port. */
function foreignProtocolHint(bytes: Buffer): string {
  const text = bytes.toString("latin1", 0, 4);
  if (/^(GET |POST|PUT |HEAD|DELE|OPTI|PATC)$/.test(text))
    return "; this looks like HTTP: is it meant for the HTTP port?";
  if (bytes[0] === 0x16 && bytes[1] === 0x03) return "; this looks like TLS: this port speaks plain text";
  return "";
}
