/** Messages that carry their own version in two bytes before them: what groups keep in topics, and what members tell each other. */

import { WireError } from "../../errors.ts";
import { Reader } from "../../reader.ts";
import type { Message } from "../../schema.ts";
import { Writer } from "../../writer.ts";

export function encodeVersioned<Input>(message: Message<unknown, Input>, version: number, value: Input): Buffer {
  const writer = new Writer();
  writer.int16(version);
  message.encode(writer, version, value);
  return Buffer.concat(writer.finish());
}

/** The version that the bytes say they are of: in keys of internal topics it tells what kind of key it is. */
export function peekVersion(bytes: Buffer): number {
  return new Reader(bytes).int16();
}

/** Throws WireError if the bytes are of a version that we do not know, or hold more than it has. */
export function decodeVersioned<Output>(message: Message<Output, unknown>, bytes: Buffer): Output {
  const reader = new Reader(bytes);
  const version = reader.int16();
  const { min, max } = message.versions;
  if (version < min || version > max) {
    throw new WireError(`${message.name}: version ${version}; we read ${min} to ${max}`, 0);
  }
  const value = message.decode(reader, version);
  reader.expectEnd();
  return value;
}

/**
 * As decodeVersioned, for what members of a group tell each other: a newer version is read as the newest that we know,
 * because new versions only add fields at the end.
 *
 * Source: Kafka, ConsumerProtocol.deserializeSubscription.
 */
export function decodeForwardCompatible<Output>(message: Message<Output, unknown>, bytes: Buffer): Output {
  const reader = new Reader(bytes);
  const version = reader.int16();
  const { min, max } = message.versions;
  if (version < min) throw new WireError(`${message.name}: version ${version}; we read ${min} and above`, 0);
  return message.decode(reader, Math.min(version, max));
}
