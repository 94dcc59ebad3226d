/** The door for Millrace's own packages; not for users, and not stable. */

export * from "./cluster/cluster.ts";
export * from "./cluster/connection.ts";
export * from "./cluster/metadata.ts";
export * from "./common-options.ts";
export { producerOptions } from "./producer/options.ts";
export * from "./retry.ts";
