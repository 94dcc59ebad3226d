/** An embeddable broker that speaks the Kafka protocol. */

export { Broker } from "./broker.ts";
export type { Fault, FaultSpec, Faults } from "./faults.ts";
export { type BrokerOptions, brokerOptions } from "./options.ts";
