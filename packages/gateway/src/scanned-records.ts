/** The records of a body as they stand in it: where their parts are, without a copy of them. */

import { type Format, isNull, type PartCodec, type RecordFailure, serialize } from "./formats.ts";

export type ScannedHeader = readonly [name: string, value: Buffer | null];

/** One record as it stands in the body. */
export class ScannedRecord {
  keyStart = -1;
  keyEnd = -1;
  valueStart = -1;
  valueEnd = -1;
  /** Null: the partitioner chooses. */
  partition: number | null = null;
  /** Milliseconds since the epoch; null: now. */
  timestampMs: number | null = null;
  headers: readonly ScannedHeader[] | null = null;
  /** JSON source of what the answer carries back. */
  id: string | null = null;
  keyFormat: Format | null = null;
  valueFormat: Format | null = null;
  /** What is wrong with the content of a header; this record will fail. */
  failure: RecordFailure | null = null;
  /** Has more than a key and a value. */
  isSpecial = false;

  /** format: where the record names none. codec: for formats that need a schema. */
  keyBytes(body: Buffer, format: Format, codec: PartCodec | null): Buffer | null | RecordFailure {
    return this.keyStart < 0 ? null : serialize(this.keyFormat ?? format, body, this.keyStart, this.keyEnd, codec);
  }

  valueBytes(body: Buffer, format: Format, codec: PartCodec | null): Buffer | null | RecordFailure {
    if (this.valueStart < 0) return null;
    return serialize(this.valueFormat ?? format, body, this.valueStart, this.valueEnd, codec);
  }
}

const BYTES_PER_NUMBER = 8;
/** Of a record with more than key and value, its object and what that holds. */
const SPECIAL_BYTES = 256;

/**
 * Two numbers a record, two more where there are keys, and an object only for those that have more than a key and a value:
 * an object for each was a fifth of a request's time (Node 20, batches of 1,000 records of 100 bytes).
 */
export class ScannedRecords {
  readonly #valueStarts: number[] = [];
  readonly #valueEnds: number[] = [];
  /** Empty until there is a key. */
  readonly #keyStarts: number[] = [];
  readonly #keyEnds: number[] = [];
  /** Null until there is one: most requests have none. */
  #special: Map<number, ScannedRecord> | null = null;
  /** Bytes of key and value by turns, as they are stored; null unless somebody asked for them. */
  #sizes: Int32Array | null = null;
  #haveIds = false;
  #lent = new ScannedRecord();

  static of(record: ScannedRecord): ScannedRecords {
    const records = new ScannedRecords();
    records.#special = new Map([[0, record]]);
    records.#valueStarts.push(-1);
    records.#valueEnds.push(-1);
    return records;
  }

  get length(): number {
    return this.#valueStarts.length;
  }

  /** At least one has something that its result carries back. */
  get haveIds(): boolean {
    return this.#haveIds;
  }

  /** About how much memory they take, beside the body. */
  get sizeBytes(): number {
    const numberCount = 2 * (this.#valueStarts.length + this.#keyStarts.length);
    return numberCount * BYTES_PER_NUMBER + (this.#special?.size ?? 0) * SPECIAL_BYTES;
  }

  /** For the next record, empty; `add` takes it in. */
  blank(): ScannedRecord {
    const record = this.#lend();
    record.keyStart = -1;
    record.valueStart = -1;
    return record;
  }

  /** The object that all plain records share. One that became special and was never added, as its JSON broke off, is left. */
  #lend(): ScannedRecord {
    if (this.#lent.isSpecial) this.#lent = new ScannedRecord();
    return this.#lent;
  }

  /** Adds the record that was lent last. */
  add(record: ScannedRecord): void {
    if (record.isSpecial) {
      this.#special ??= new Map();
      this.#special.set(this.length, record);
      this.#haveIds ||= record.id !== null;
      this.#lent = new ScannedRecord();
    }
    if (record.keyStart >= 0) {
      // Those without a key before it get their places.
      for (let index = this.#keyStarts.length; index < this.length; index++) {
        this.#keyStarts.push(-1);
        this.#keyEnds.push(-1);
      }
      this.#keyStarts.push(record.keyStart);
      this.#keyEnds.push(record.keyEnd);
    }
    this.#valueStarts.push(record.valueStart);
    this.#valueEnds.push(record.valueEnd);
  }

  /** Where the values stand, if all records are JSON values of this body and nothing else, and none is null. */
  plainValues(body: Buffer): { readonly starts: readonly number[]; readonly ends: readonly number[] } | null {
    if (this.#special !== null || this.#keyStarts.length > 0) return null;
    for (const start of this.#valueStarts) if (start < 0 || isNull(body, start)) return null;
    return { starts: this.#valueStarts, ends: this.#valueEnds };
  }

  /** The record, in an object that is used again: good until the next call. */
  at(index: number): ScannedRecord {
    const special = this.#special?.get(index);
    if (special !== undefined) return special;
    const record = this.#lend();
    const hasKey = index < this.#keyStarts.length;
    record.keyStart = hasKey ? (this.#keyStarts[index] ?? -1) : -1;
    record.keyEnd = hasKey ? (this.#keyEnds[index] ?? -1) : -1;
    record.valueStart = this.#valueStarts[index] ?? -1;
    record.valueEnd = this.#valueEnds[index] ?? -1;
    return record;
  }

  /** What the record wants carried back. */
  idOf(index: number): string | null {
    return this.#special?.get(index)?.id ?? null;
  }

  partitionOf(index: number): number | null {
    return this.#special?.get(index)?.partition ?? null;
  }

  rememberSizes(index: number, keySizeBytes: number, valueSizeBytes: number): void {
    this.#sizes ??= new Int32Array(2 * this.length).fill(-1);
    this.#sizes[2 * index] = keySizeBytes;
    this.#sizes[2 * index + 1] = valueSizeBytes;
  }

  /** -1 for null, and for a record that was never serialized. */
  sizesOf(index: number): readonly [keySizeBytes: number, valueSizeBytes: number] {
    return [this.#sizes?.[2 * index] ?? -1, this.#sizes?.[2 * index + 1] ?? -1];
  }
}
