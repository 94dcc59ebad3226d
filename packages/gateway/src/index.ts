/** The HTTP Producer API in front of a Kafka log. */

export { type ApiKey, KeyStore, type NewApiKey } from "./auth/key-store.ts";
export { type Scope, scopes } from "./auth/principal.ts";
export { Gateway } from "./gateway.ts";
export { asksForKeys, type GatewayConfig, type GatewayOptions, type GatewayTls, gatewayOptions } from "./options.ts";
export { type LineFormats, type LineRecord, readRecordLine } from "./record-line.ts";
