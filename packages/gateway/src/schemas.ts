/** Pieces of schemas: what the routes have in common. A schema checks requests and stands in openapi.json. */

import type { TUnsafe } from "typebox";
import { Type } from "./json-schema.ts";

/** One of a few texts. As an enum, not as a union of constants: the error then names them all. */
export function choiceOf<const Choices extends readonly string[]>(
  choices: Choices,
  description: string,
): TUnsafe<Choices[number]> {
  return Type.Unsafe<Choices[number]>({ type: "string", enum: [...choices], description });
}

const flagTexts = ["true", "false", "1", "0"] as const;
export type FlagText = (typeof flagTexts)[number];

/** A parameter that is on or off. */
export function flagOf(description: string): TUnsafe<FlagText> {
  return choiceOf(flagTexts, description);
}

export function isSet(flag: FlagText | undefined): boolean {
  return flag === "true" || flag === "1";
}

const WHOLE = "^[0-9]{1,15}$";
const POSITIVE = "^0*[1-9][0-9]{0,8}$";

/** A whole number in a query, from 0; with positiveOf from 1. */
export function numberOf(description: string) {
  return Type.String({ pattern: WHOLE, description });
}

export function positiveOf(description: string) {
  return Type.String({ pattern: POSITIVE, description });
}

/** What an error calls the texts that a pattern of ours lets pass. */
export function patternMeaning(pattern: string): string {
  return pattern === POSITIVE ? "a whole number from 1 on" : "a whole number";
}

export const topicParams = Type.Object({ topic: Type.String({ description: "The topic's name." }) });

const errorDetails = Type.Optional(
  Type.Array(
    Type.Object({
      index: Type.Optional(Type.Integer({ description: "The record, counted from 0." })),
      field: Type.Optional(Type.String()),
      line: Type.Optional(Type.Integer({ description: "Of the body, from 1; the column too." })),
      column: Type.Optional(Type.Integer()),
      message: Type.String(),
    }),
  ),
);

export const errorSchema = Type.Object(
  {
    error: Type.String({ description: "What is wrong, for people." }),
    code: Type.String({ description: "What is wrong, for programs: stable." }),
    requestId: Type.String({ description: "As in the header X-Request-Id, and in the server's log." }),
    details: errorDetails,
  },
  { description: "Why the request was refused." },
);

export const problemSchema = Type.Object(
  {
    type: Type.String({ description: "urn:millrace:error: and the code." }),
    title: Type.String(),
    status: Type.Integer(),
    detail: Type.String({ description: "What is wrong, for people." }),
    code: Type.String({ description: "What is wrong, for programs: stable." }),
    requestId: Type.String(),
    details: errorDetails,
  },
  { description: "The same as RFC 9457 has it, for whoever accepts application/problem+json." },
);
