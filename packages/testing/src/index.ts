/** Test support: brokers, scripted or real, and what tests wait with. */

export * from "./scripted-broker.ts";
export * from "./wait-until.ts";
