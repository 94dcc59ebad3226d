/** The door for Millrace's own packages to what is Avro's; not for users, and not stable. */

export { type AvroType, parseAvroSchema } from "./avro-types.ts";
export { DecimalType } from "./decimal-type.ts";
export { RecentMap } from "./recent-map.ts";
