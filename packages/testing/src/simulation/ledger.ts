/** What the producers were given and what they said about it: the one side of every check. */

import type { RecordMetadata } from "@millrace/client";
import { KafkaError, type Persisted } from "@millrace/protocol";

export type Outcome =
  | { readonly kind: "acknowledged"; readonly partition: number; readonly offset: bigint; readonly timestamp: number }
  | { readonly kind: "refused"; readonly code: string; readonly persisted: Persisted };

/** One record that was handed to a producer. */
export interface LedgerEntry {
  /** Name of the producer, and which life of it: each has a producer id of its own. */
  readonly producer: string;
  /** Its place in the order of this producer's sends; with the producer's name the value begins with it. */
  readonly index: number;
  readonly topic: string;
  readonly key: Buffer | null;
  readonly value: Buffer;
  readonly sentAtMs: number;
  /** Latest time at which its outcome must be known. */
  readonly deadlineMs: number;
  /** In the order in which they were told; more than one is a mistake. */
  readonly outcomes: Outcome[];
  settledAtMs: number | null;
}

export class Ledger {
  readonly entries: LedgerEntry[] = [];
  readonly #byId = new Map<string, LedgerEntry>();

  add(entry: Omit<LedgerEntry, "outcomes" | "settledAtMs">): LedgerEntry {
    const added: LedgerEntry = { ...entry, outcomes: [], settledAtMs: null };
    this.entries.push(added);
    this.#byId.set(recordId(entry.producer, entry.index), added);
    return added;
  }

  /** The entry that a value read from the log belongs to; undefined if nobody sent such a record. */
  entryOf(value: Buffer | null): LedgerEntry | undefined {
    const text = value?.toString("latin1") ?? "";
    return this.#byId.get(text.slice(0, text.indexOf(";") + 1));
  }

  count(kind: Outcome["kind"]): number {
    return this.entries.filter((entry) => entry.outcomes[0]?.kind === kind).length;
  }
}

/** What the value of a record begins with. */
export function recordId(producer: string, index: number): string {
  return `${producer}/${index};`;
}

export function acknowledged(metadata: RecordMetadata): Outcome {
  const { partition, offset, timestamp } = metadata;
  return { kind: "acknowledged", partition, offset, timestamp };
}

export function refused(error: unknown): Outcome {
  if (error instanceof KafkaError) return { kind: "refused", code: error.code, persisted: error.persisted };
  return { kind: "refused", code: `not a KafkaError: ${error}`, persisted: "maybe" };
}
