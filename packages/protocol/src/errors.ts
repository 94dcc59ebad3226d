/** What the world can do to us, as errors with a stable code. What only we can get wrong is an assert. */

import { type ErrorCode, type ErrorEntry, errorByCode, errorByNumber } from "./error-codes.ts";

/** "no": the record is surely not in the log. "maybe": it may be there, nobody can tell. */
export type Persisted = "no" | "maybe";

export interface KafkaErrorOptions {
  readonly cause?: unknown;
  /** Where the code's own answer in the error table does not fit this case. */
  readonly retriable?: boolean;
  readonly persisted?: Persisted;
  readonly attempts?: number;
}

/**
 * The root of all errors that Millrace throws or rejects with.
 *
 * code: a name of Kafka's error table, or ours in that style; docs/ERRORS.md has all.
 */
export class KafkaError extends Error {
  override readonly name: string = "KafkaError";
  readonly code: ErrorCode;
  readonly retriable: boolean;
  readonly persisted: Persisted;
  /** Requests that carried the record that failed; 0 where none did, and where no record failed. */
  readonly attempts: number;

  constructor(code: ErrorCode, message: string, options: KafkaErrorOptions = {}) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause });
    this.code = code;
    this.retriable = options.retriable ?? errorByCode(code).retriable;
    this.persisted = options.persisted ?? "no";
    this.attempts = options.attempts ?? 0;
  }
}

/** Bytes that are not what the protocol says. Never retried on the connection they came from. */
export class WireError extends KafkaError {
  override readonly name = "WireError";
  readonly byteOffset: number;

  constructor(message: string, byteOffset: number) {
    super("MALFORMED_MESSAGE", `${message} (at byte ${byteOffset})`);
    this.byteOffset = byteOffset;
  }
}

/** A broker answered with an error. */
export class BrokerError extends KafkaError {
  override readonly name = "BrokerError";
  /** The number on the wire. */
  readonly errorNumber: number;
  readonly brokerMessage: string | null;

  /** where: what was asked of whom: "produce to orders-3". */
  constructor(entry: ErrorEntry, where: string, brokerMessage: string | null = null, options: KafkaErrorOptions = {}) {
    super(entry.code, `${where}: ${entry.code}: ${brokerMessage ?? entry.advice}`, options);
    this.errorNumber = entry.number;
    this.brokerMessage = brokerMessage;
  }

  static fromNumber(errorNumber: number, where: string, brokerMessage: string | null = null): BrokerError {
    return new BrokerError(errorByNumber(errorNumber), where, brokerMessage);
  }
}

/** Total: true only for what is known to be worth another try. An unknown error is not. */
export function isRetriable(error: unknown): boolean {
  return error instanceof KafkaError && error.retriable;
}
