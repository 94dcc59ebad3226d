/** SerializingRecords: those that an async serializer has in its hands, or that wait for one before them. */

import { toKafkaError } from "../errors.ts";
import { failRecord, type RecordCompletion } from "./completion.ts";
import type { SerializedRecord } from "./record-serializer.ts";

/** So many, of all topics together. */
const LIMIT = 100_000;

interface SerializingRecord {
  readonly completion: RecordCompletion;
  readonly slot: number;
}

/** An async serializer must not change the order of records: what is sent after one waits for it, also where it fails. */
export class SerializingRecords {
  /** In the order in which they were sent. Whoever takes one out tells its completion. */
  readonly #records = new Set<SerializingRecord>();
  /** When the last of them has left. */
  #lastLeft: Promise<void> = Promise.resolve();

  get count(): number {
    return this.#records.size;
  }

  get isFull(): boolean {
    return this.#records.size >= LIMIT;
  }

  /** Appends the record in its turn, unless it was taken out before; or fails it, if its serializer does. */
  add(
    serialized: Promise<SerializedRecord>,
    completion: RecordCompletion,
    slot: number,
    append: (record: SerializedRecord) => void,
  ): void {
    const record: SerializingRecord = { completion, slot };
    this.#records.add(record);
    this.#lastLeft = Promise.allSettled([serialized, this.#lastLeft]).then(([own]) => {
      if (!this.#records.delete(record)) return;
      if (own.status === "fulfilled") append(own.value);
      else failRecord(completion, toKafkaError(own.reason, "SERIALIZATION_FAILED", "serializer"), slot);
    });
  }

  /** Takes a record out. False if it is none of these. */
  withdraw(completion: RecordCompletion): boolean {
    for (const record of this.#records) {
      if (record.completion === completion) return this.#records.delete(record);
    }
    return false;
  }

  takeAll(): SerializingRecord[] {
    const records = [...this.#records];
    this.#records.clear();
    this.#lastLeft = Promise.resolve();
    return records;
  }

  /** Resolves once there are none. */
  async settled(): Promise<void> {
    while (this.#records.size > 0) await this.#lastLeft;
  }
}
