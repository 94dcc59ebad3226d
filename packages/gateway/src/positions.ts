/** Positions: where in a topic reading goes on, in each partition, as text that a client can keep. */

import type { Admin } from "@millrace/client";
import { KafkaError } from "@millrace/protocol";
import type { Static } from "typebox";
import { RequestError } from "./errors.ts";
import { Type } from "./json-schema.ts";
import { numberOf } from "./schemas.ts";
import { TIME_MEANING, timestampOf } from "./timestamps.ts";

const POSITION = /^\d{1,10}-\d{1,19}(?:,\d{1,10}-\d{1,19})*$/;

export const positionQuery = {
  partition: Type.Optional(numberOf("Only this one; all of them if it is left out.")),
  offset: Type.Optional(numberOf("Begin here in each partition that is read, or at the first message still there.")),
  time: Type.Optional(
    Type.String({
      description: 'Begin with the first messages of this time or later: milliseconds or "2026-01-31T08:00:00Z".',
    }),
  ),
  position: Type.Optional(
    Type.String({ description: "Begin where another answer ended: its Millrace-Position, or the id of an event." }),
  ),
};
const positionSchema = Type.Object(positionQuery);
export type PositionQuery = Static<typeof positionSchema>;

/** Where reading begins, as asked for. */
export type StartPosition =
  | { readonly kind: "offset"; readonly offset: bigint }
  | { readonly kind: "time"; readonly timestampMs: number }
  | { readonly kind: "tail"; readonly recordCount: number }
  | { readonly kind: "position"; readonly offsets: ReadonlyMap<number, bigint> };

/** What of a partition there is to read: from start up to and without end. */
export interface PartitionRange {
  readonly partition: number;
  readonly start: bigint;
  readonly end: bigint;
}

/** Throws RequestError INVALID_PARAMETER for what is no position, or for two of them. */
export function readStart(query: PositionQuery, otherwise: StartPosition): StartPosition {
  const given = (["offset", "time", "position"] as const).filter((name) => query[name] !== undefined);
  if (given.length > 1) throw invalid(given[1] ?? "offset", `goes not with ${given[0]}`);
  if (query.offset !== undefined) return { kind: "offset", offset: BigInt(query.offset) };
  if (query.time !== undefined) return { kind: "time", timestampMs: readTime(query.time) };
  if (query.position !== undefined) return { kind: "position", offsets: parsePosition("position", query.position) };
  return otherwise;
}

function readTime(text: string): number {
  const timestampMs = timestampOf(text);
  if (timestampMs === null) throw invalid("time", `must be ${TIME_MEANING}`);
  return timestampMs;
}

/** "0-42,1-17": the next offsets, by partition. field: where it was given. Throws RequestError INVALID_PARAMETER. */
export function parsePosition(field: string, text: string): Map<number, bigint> {
  if (!POSITION.test(text)) throw invalid(field, "must be the position of another answer, as 0-42,1-17");
  return new Map(
    text.split(",").map((pair): [number, bigint] => {
      const [partition = "", offset = ""] = pair.split("-");
      return [Number(partition), BigInt(offset)];
    }),
  );
}

export function formatPosition(offsets: ReadonlyMap<number, bigint>): string {
  return [...offsets].map(([partition, offset]) => `${partition}-${offset}`).join(",");
}

/**
 * Asks the brokers what there is to read. partition: only this one, or null for all of partitionCount.
 *
 * Rejects with KafkaError UNKNOWN_TOPIC_OR_PARTITION for a partition that the topic lacks.
 */
export async function findRanges(
  admin: Pick<Admin, "listOffsets">,
  where: { readonly topic: string; readonly partition: number | null; readonly partitionCount: number },
  start: StartPosition,
): Promise<PartitionRange[]> {
  const { topic, partition, partitionCount } = where;
  if (partition !== null && partition >= partitionCount) {
    const message = `there is no partition ${partition}; ${topic} has ${partitionCount}`;
    throw new KafkaError("UNKNOWN_TOPIC_OR_PARTITION", message, { retriable: false });
  }
  const [earliest, latest, timed] = await Promise.all([
    admin.listOffsets(topic, "earliest"),
    admin.listOffsets(topic, "latest"),
    start.kind === "time" ? admin.listOffsets(topic, start.timestampMs) : null,
  ]);
  return [...latest]
    .filter(([candidate]) => partition === null || candidate === partition)
    .map(([candidate, { offset: end }]) => {
      const first = earliest.get(candidate)?.offset ?? 0n;
      return {
        partition: candidate,
        start: startIn(candidate, start, { first, end, timed: timed?.get(candidate)?.offset }),
        end,
      };
    });
}

interface Bounds {
  readonly first: bigint;
  readonly end: bigint;
  /** The first offset at the time asked for; -1n where there is none. */
  readonly timed: bigint | undefined;
}

function startIn(partition: number, start: StartPosition, { first, end, timed = -1n }: Bounds): bigint {
  switch (start.kind) {
    case "offset":
      return clamp(start.offset, first, end);
    case "time":
      return timed < 0n ? end : clamp(timed, first, end);
    case "tail":
      return clamp(end - BigInt(start.recordCount), first, end);
    case "position":
      // A partition that was added since is read from its beginning.
      return clamp(start.offsets.get(partition) ?? first, first, end);
  }
}

function clamp(offset: bigint, first: bigint, end: bigint): bigint {
  return offset < first ? first : offset > end ? end : offset;
}

function invalid(field: string, message: string): RequestError {
  return new RequestError("INVALID_PARAMETER", `${field} ${message}`, { details: [{ field, message }] });
}
