/** RecordRun: many records for one topic that are bytes already, with one completion for all. How a sibling package sends. */

import type { CompressionType, RecordHeader, ValueSlices } from "@millrace/protocol";
import type { Completion } from "./completion.ts";
import type { BoundPartitioner } from "./partitioners.ts";
import type { SerializedRecord } from "./record-serializer.ts";

export interface RecordRun {
  readonly topic: string;
  readonly recordCount: number;
  /** How many partitions its sender knows the topic to have; where we know of fewer, brokers are asked first. */
  readonly partitionCount: number;
  readonly compressionType: CompressionType;
  /** Instead of the producer's own; null leaves it to that. */
  readonly partitioner: BoundPartitioner | null;
  /** Told once a record, with the record's index as the slot. */
  readonly completion: Completion;
  /** All its records, where they are values and nothing else: they are appended many at a time. Null: each is filled in. */
  readonly values: RunValues | null;
  /** Fills in a record: the same object for each, encoded or copied before the next call. False leaves the record out. */
  fill(index: number, record: RunRecord): boolean;
}

/** Records without key and headers, of one time, for no partition in particular; a slice of `bytes` for each, none null. */
export interface RunValues extends ValueSlices {
  readonly timestampMs: number;
}

/** The record that a run is sent through, one after the other. Keys and values are views: nothing is kept of them. */
export class RunRecord implements SerializedRecord {
  partition: number | null = null;
  timestampMs = 0;
  key: Uint8Array | null = null;
  keySizeBytes = 0;
  value: Uint8Array | null = null;
  headers: readonly RecordHeader[] | null = null;
  readonly codecId: number;
  readonly completion: Completion;
  slot = 0;
  readonly onBuffered = null;
  readonly partitioner: BoundPartitioner | null;

  constructor(run: RecordRun, codecId: number) {
    this.codecId = codecId;
    this.completion = run.completion;
    this.partitioner = run.partitioner;
  }
}
