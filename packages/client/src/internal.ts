/** The door for Millrace's own packages; not for users, and not stable. */

export * from "./cluster/cluster.ts";
export * from "./cluster/connection.ts";
export * from "./cluster/metadata.ts";
export * from "./common-options.ts";
export type { Completion } from "./producer/completion.ts";
export { producerOptions } from "./producer/options.ts";
export { type BoundPartitioner, bindPartitioner } from "./producer/partitioners.ts";
export { sendRun, sendWholeRun } from "./producer/producer.ts";
export type { BatchReceipt } from "./producer/record.ts";
export type { RecordRun, RunRecord, RunValues } from "./producer/record-run.ts";
export * from "./retry.ts";
