/** What reads the schemas of each kind, loaded by the first that is of it. */

import type { SchemaParser, SchemaType } from "./schema-kinds.ts";

export async function parserOf(type: SchemaType): Promise<SchemaParser> {
  switch (type) {
    case "AVRO":
      return (await import("./avro-schema.ts")).parseAvro;
    case "JSON":
      return (await import("./json-schema.ts")).parseJson;
  }
}
