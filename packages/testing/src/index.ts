/** Test support: brokers, scripted or real, the command as a process, and what tests wait with. */

export * from "./admin-reader-suite.ts";
export * from "./disk-operations.ts";
export * from "./documented-examples.ts";
export * from "./faulty-file-system.ts";
export * from "./file-system-suite.ts";
export * from "./gateway-calls.ts";
export * from "./gateway-suite.ts";
export * from "./http-call.ts";
export * from "./kafka-cluster.ts";
export * from "./log-fixture.ts";
export * from "./millrace-process.ts";
export * from "./network-suite.ts";
export * from "./record-batches.ts";
export * from "./rejection-of.ts";
export * from "./schema-registry-server.ts";
export * from "./scripted-broker.ts";
export * from "./scripted-log.ts";
export * from "./simulated-file-system.ts";
export * from "./simulated-network.ts";
export { type SimulationOptions, type SimulationResult, simulate } from "./simulation/simulate.ts";
export * from "./start-broker.ts";
export * from "./tls-test-network.ts";
export * from "./wait-until.ts";
export * from "./wire-client.ts";
