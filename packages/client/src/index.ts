/** A Kafka client for Node: what users import. */

export * from "./admin.ts";
export type { OffsetAndTimestamp, OffsetSpec } from "./cluster/list-offsets.ts";
export type { BrokerNode, ClusterMetadata, PartitionMetadata, TopicMetadata } from "./cluster/metadata.ts";
export * from "./errors.ts";
export * from "./reader.ts";
