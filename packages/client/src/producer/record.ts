/** What goes in and what comes out: a record to send, and where it landed. */

import type { RecordHeader } from "@millrace/protocol";

/** Header values in the order they are sent; a name may stand more than once in the list form. */
export type RecordHeaders =
  | Readonly<Record<string, string | Uint8Array | null>>
  | readonly (readonly [name: string, value: string | Uint8Array | null])[];

/** One record to send. Key and value are what the serializers take: text, bytes or null where none is set. */
export interface ProducerRecord<Key = unknown, Value = unknown> {
  readonly topic: string;
  readonly key?: Key | null;
  readonly value?: Value | null;
  /** Chosen by the partitioner where it is left out. */
  readonly partition?: number;
  /** Milliseconds since the epoch; now where it is left out. */
  readonly timestamp?: number | Date;
  readonly headers?: RecordHeaders;
}

/** What the records of one batch have in common once it is acknowledged. */
export interface BatchReceipt {
  readonly topic: string;
  readonly partition: number;
  /** -1n where the broker gave none: acks=0, or a duplicate older than it remembers. */
  readonly baseOffset: bigint;
  /** Set where the topic keeps the broker's time instead of the producer's. */
  readonly logAppendTimeMs: number | null;
  readonly timestampsMs: readonly number[];
}

/** Where a record landed. Made once a record, so it holds no more than it must: the rest is worked out when read. */
export class RecordMetadata {
  readonly #receipt: BatchReceipt;
  readonly #index: number;

  constructor(receipt: BatchReceipt, index: number) {
    this.#receipt = receipt;
    this.#index = index;
  }

  get topic(): string {
    return this.#receipt.topic;
  }

  get partition(): number {
    return this.#receipt.partition;
  }

  /** -1n where the broker gave none: acks=0, or a duplicate older than it remembers. */
  get offset(): bigint {
    const { baseOffset } = this.#receipt;
    return baseOffset < 0n ? -1n : baseOffset + BigInt(this.#index);
  }

  /** Milliseconds since the epoch, as stored: the record's own time, or the broker's where the topic says so. */
  get timestamp(): number {
    return this.#receipt.logAppendTimeMs ?? this.#receipt.timestampsMs[this.#index] ?? -1;
  }

  /** The offset as a text, because JSON has no 64-bit integers. */
  toJSON(): { topic: string; partition: number; offset: string; timestamp: number } {
    return { topic: this.topic, partition: this.partition, offset: this.offset.toString(), timestamp: this.timestamp };
  }

  [Symbol.for("nodejs.util.inspect.custom")](): object {
    return { topic: this.topic, partition: this.partition, offset: this.offset, timestamp: this.timestamp };
  }
}

/** Headers as the batch builder takes them: an ordered list of names and bytes. Throws TypeError for anything else. */
export function normalizeHeaders(headers: RecordHeaders | undefined): readonly RecordHeader[] | null {
  if (headers === undefined || headers === null) return null;
  const entries = isHeaderList(headers) ? headers : Object.entries(headers);
  if (entries.length === 0) return null;
  return entries.map(([name, value]) => [checkName(name), headerBytes(name, value)]);
}

function isHeaderList(headers: RecordHeaders): headers is Extract<RecordHeaders, readonly unknown[]> {
  return Array.isArray(headers);
}

function checkName(name: unknown): string {
  if (typeof name === "string") return name;
  throw new TypeError(`a header's name is a text; found ${typeof name}`);
}

function headerBytes(name: string, value: unknown): Uint8Array | null {
  if (value === null || value === undefined) return null;
  if (typeof value === "string") return Buffer.from(value);
  if (value instanceof Uint8Array) return value;
  throw new TypeError(`header ${name} is text, bytes or null; found ${typeof value}`);
}
