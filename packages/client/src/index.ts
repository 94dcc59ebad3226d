/** A Kafka client for Node: what users import. */

export type { PartitionMetadata, TopicMetadata } from "./cluster/metadata.ts";
export * from "./errors.ts";
