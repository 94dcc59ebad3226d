/** Subject names: under which name the registry keeps the schema of a record's key or value. The strategies are Confluent's. */

import type { SerializationContext } from "../producer/serializers.ts";

/** recordName: the full name of the schema's type; null where it has none, as a union or a primitive. Throws for what it cannot name. */
export type SubjectNameFunction = (context: SerializationContext, recordName: string | null) => string;

export type SubjectNameStrategy = "topic" | "record" | "topic_record" | SubjectNameFunction;

export function bindSubjectNames(strategy: SubjectNameStrategy): SubjectNameFunction {
  switch (strategy) {
    case "topic":
      return ({ topic, part }) => `${topic}-${part}`;
    case "record":
      return (_context, recordName) => required(recordName);
    case "topic_record":
      return ({ topic }, recordName) => `${topic}-${required(recordName)}`;
    default:
      return strategy;
  }
}

function required(recordName: string | null): string {
  if (recordName !== null) return recordName;
  throw new TypeError("subjects are named after records, and this schema has no name: it is no record, enum or fixed");
}
