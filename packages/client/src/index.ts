/** A Kafka client for Node: what users import. */

export {
  BrokerError,
  CompressionType,
  type ErrorCode,
  isRetriable,
  KafkaError,
  type Persisted,
} from "@millrace/protocol";
export * from "./admin.ts";
export type { OffsetAndTimestamp, OffsetSpec } from "./cluster/list-offsets.ts";
export type { BrokerNode, ClusterMetadata } from "./cluster/metadata.ts";
export type { OauthCredentials, OauthToken, PasswordCredentials, SaslOptions } from "./cluster/sasl.ts";
export type { PartitionMetadata, TopicMetadata } from "./cluster/topic-metadata.ts";
export type { SslOptions } from "./common-options.ts";
export * from "./errors.ts";
export type { CallbackStats, ErrorCallback, SuccessCallback } from "./producer/callback-manager.ts";
export * from "./producer/circuit-breaker.ts";
export type { Delivery } from "./producer/completion.ts";
export type { BatchMessage, ProduceRequestMessage, ProducerDiagnostics } from "./producer/diagnostics.ts";
export type { ProducerMetrics } from "./producer/metrics.ts";
export type { ProducerConfig } from "./producer/options.ts";
export type { Partitioner, PartitionerFunction, PartitionerType } from "./producer/partitioners.ts";
export {
  type ProduceOptions,
  Producer,
  type SendBatchOptions,
  type SendOptions,
  type TimeoutOptions,
} from "./producer/producer.ts";
export type { BatchPreview } from "./producer/producer-batch-manager.ts";
export { type ProducerRecord, type RecordHeaders, RecordMetadata } from "./producer/record.ts";
export * from "./producer/serializers.ts";
export * from "./reader.ts";
