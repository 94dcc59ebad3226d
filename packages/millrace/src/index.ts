/** The whole as one import: the client, the broker, the HTTP API, and all of them together. */

export { Broker, type BrokerOptions } from "@millrace/broker";
export * from "@millrace/client";
export { Gateway, type GatewayConfig } from "@millrace/gateway";
export { type Millrace, type MillraceConfig, StartError, startMillrace } from "./start-millrace.ts";
