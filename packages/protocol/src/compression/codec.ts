/** What each codec can do, and the errors that all of them share. */

import { formatBytes } from "@millrace/base";
import { KafkaError } from "../errors.ts";

export interface Codec {
  /** Makes the functions below usable. They are at once for all but zstd on a Node that has none of its own. */
  load(): Promise<void>;
  compressSync(bytes: Uint8Array, level?: number): Buffer;
  /** Off the event loop where the codec can; the bytes must not change until it is done. */
  compress(bytes: Uint8Array, level?: number): Promise<Buffer>;
  /** Throws CORRUPT_MESSAGE for what is not the codec's format, MESSAGE_TOO_LARGE for more than limitBytes. */
  decompress(bytes: Uint8Array, limitBytes: number): Buffer;
}

export function corrupt(codec: string, what: string, cause?: unknown): KafkaError {
  return new KafkaError("CORRUPT_MESSAGE", `${codec}: ${what}`, cause === undefined ? {} : { cause });
}

export function tooLarge(codec: string, limitBytes: number): KafkaError {
  return new KafkaError(
    "MESSAGE_TOO_LARGE",
    `${codec}: the records decompress to more than ${formatBytes(limitBytes)}, the most that is allowed here`,
  );
}

/** The same bytes as a Buffer. */
export function viewOf(bytes: Uint8Array): Buffer {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}
