/** Messages inside records, of Kafka's internal topics and of groups, rather than of requests. */

export * from "./consumer-protocol.ts";
export * from "./control-record.ts";
export * from "./group-metadata.ts";
export * from "./offset-commit.ts";
export * from "./transaction-log.ts";
export * from "./versioned.ts";
