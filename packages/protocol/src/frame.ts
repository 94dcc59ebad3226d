/** Frames and headers: a length of four bytes, a header, a body. */

import { formatBytes } from "@millrace/base";
import { WireError } from "./errors.ts";
import type { Reader } from "./reader.ts";
import type { Api } from "./schema.ts";
import { Writer } from "./writer.ts";

const API_VERSIONS_KEY = 18;
const LENGTH_BYTES = 4;
/** Memory for a frame that comes in pieces, at first: as much as one read brings, or most requests have. */
const FIRST_ROOM_BYTES = 128 * 1024;
/** Whole frames that are more than this together have memory of their own each. */
const COPIED_TOGETHER_BYTES = 16 * 1024;
const NO_BYTES = Buffer.alloc(0);

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

/** Where the memory of frames comes from. */
export interface FrameMemory {
  take(sizeBytes: number): Buffer;
  /** Nobody looks at what `take` returned any more. */
  give(bytes: Buffer): void;
}

/** Of each frame its own, for good. */
const ownMemory: FrameMemory = { take: (sizeBytes) => Buffer.allocUnsafe(sizeBytes), give() {} };

/**
 * Cuts a stream of bytes into frames.
 *
 * Chunks are copied, so that whoever reads may read the next one into the same memory; frames are the receiver's to keep.
 * The length that a frame declares is believed only as far as limitBytes, and memory for it grows with the bytes that come.
 */
export class FrameSplitter {
  /** May be raised while running: brokers allow little before they know their client. */
  limitBytes: number;
  readonly #length = Buffer.alloc(LENGTH_BYTES);
  #knownLengthBytes = 0;
  /** The frame that has begun; null between frames. May be shorter than the frame will be. */
  #frame: Buffer | null = null;
  #frameBytes = 0;
  #filledBytes = 0;
  readonly #memory: FrameMemory;

  constructor(limitBytes: number, memory = ownMemory) {
    this.limitBytes = limitBytes;
    this.#memory = memory;
  }

  /** Bytes of a frame that is not complete yet, its length included. */
  get pendingBytes(): number {
    return this.#knownLengthBytes + this.#filledBytes;
  }

  /** Calls onFrame for each frame that this chunk completes. Throws WireError for a length that no frame may have. */
  push(chunk: Buffer, onFrame: (frame: Buffer) => void): void {
    let at = this.pendingBytes > 0 ? this.#continueFrame(chunk, 0, onFrame) : 0;
    at = this.#takeWholeFrames(chunk, at, onFrame);
    if (at < chunk.length) this.#continueFrame(chunk, at, onFrame);
  }

  /** Returns where the first frame starts that does not lie whole in the chunk. */
  #takeWholeFrames(chunk: Buffer, from: number, onFrame: (frame: Buffer) => void): number {
    const end = endOfWholeFrames(chunk, from);
    if (end - from > COPIED_TOGETHER_BYTES) this.#copyEach(chunk, from, end, onFrame);
    else if (end > from) this.#copyTogether(chunk, from, end, onFrame);
    return end;
  }

  #copyEach(chunk: Buffer, from: number, end: number, onFrame: (frame: Buffer) => void): void {
    for (let at = from; at < end; ) {
      const start = at + LENGTH_BYTES;
      const frame = this.#memory.take(this.#readLength(chunk, at));
      at = start + chunk.copy(frame, 0, start);
      onFrame(frame);
    }
  }

  #copyTogether(chunk: Buffer, from: number, end: number, onFrame: (frame: Buffer) => void): void {
    const copy = Buffer.allocUnsafe(end - from);
    chunk.copy(copy, 0, from, end);
    for (let at = 0; at < copy.length; ) {
      const start = at + LENGTH_BYTES;
      at = start + this.#readLength(copy, at);
      onFrame(copy.subarray(start, at));
    }
  }

  /** Goes on with the frame that has begun, or begins one. Returns the place behind what was taken. */
  #continueFrame(chunk: Buffer, from: number, onFrame: (frame: Buffer) => void): number {
    let at = from;
    if (this.#frame === null) {
      const copiedBytes = chunk.copy(this.#length, this.#knownLengthBytes, at);
      at += copiedBytes;
      this.#knownLengthBytes += copiedBytes;
      if (this.#knownLengthBytes < LENGTH_BYTES) return at;
      this.#frameBytes = this.#readLength(this.#length, 0);
      this.#frame = NO_BYTES;
    }
    const end = Math.min(chunk.length, at + this.#frameBytes - this.#filledBytes);
    const frame = this.#grow(this.#filledBytes + end - at);
    this.#filledBytes += chunk.copy(frame, this.#filledBytes, at, end);
    if (this.#filledBytes === this.#frameBytes) {
      this.#frame = null;
      this.#filledBytes = 0;
      this.#knownLengthBytes = 0;
      onFrame(frame);
    }
    return end;
  }

  /** The frame that has begun, with room for so many of its bytes. */
  #grow(sizeBytes: number): Buffer {
    const frame = this.#frame ?? NO_BYTES;
    if (sizeBytes <= frame.length) return frame;
    const room = Math.max(sizeBytes, frame.length * 2, FIRST_ROOM_BYTES);
    const grown = this.#memory.take(Math.min(room, this.#frameBytes));
    frame.copy(grown, 0, 0, this.#filledBytes);
    this.#memory.give(frame);
    this.#frame = grown;
    return grown;
  }

  #readLength(bytes: Buffer, at: number): number {
    const length = bytes.readInt32BE(at);
    if (length >= 0 && length <= this.limitBytes) return length;
    throw new WireError(
      `frame of ${length} bytes; at most ${formatBytes(this.limitBytes)} may come${foreignProtocolHint(bytes, at)}`,
      0,
    );
  }
}

/** Where the frames end that lie whole in the chunk, one behind the other from this place on. */
function endOfWholeFrames(chunk: Buffer, from: number): number {
  let end = from;
  while (end + LENGTH_BYTES <= chunk.length) {
    const length = chunk.readInt32BE(end);
    const next = end + LENGTH_BYTES + length;
    if (length < 0 || next > chunk.length) break;
    end = next;
  }
  return end;
}

/** Who it may be that speaks something else to a Kafka port. */
function foreignProtocolHint(bytes: Buffer, at: number): string {
  const text = bytes.toString("latin1", at, at + LENGTH_BYTES);
  if (/^(GET |POST|PUT |HEAD|DELE|OPTI|PATC)$/.test(text))
    return "; this looks like HTTP: is it meant for the HTTP port?";
  if (bytes[at] === 0x16 && bytes[at + 1] === 0x03) return "; this looks like TLS: this port speaks plain text";
  return "";
}
