/** The HTTP Producer API in front of a Kafka log. */

export { Gateway } from "./gateway.ts";
export { type GatewayConfig, type GatewayOptions, gatewayOptions } from "./options.ts";
export { type LineFormats, type LineRecord, readRecordLine } from "./record-line.ts";
