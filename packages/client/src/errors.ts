/** What the client rejects with, beside what brokers answer: each a KafkaError with a code of the error table. */

import { formatBytes } from "@millrace/base";
import { type ErrorCode, KafkaError, type KafkaErrorOptions, type Persisted } from "@millrace/protocol";

/** It was closed before, or while the operation ran. */
export class ClosedError extends KafkaError {
  override readonly name = "ClosedError";
  /** What was asked: "send", "connect to 127.0.0.1:9092". */
  readonly operation: string;

  constructor(operation: string, options?: KafkaErrorOptions) {
    super("CLOSED", `${operation}: closed`, options);
    this.operation = operation;
  }
}

/** A broker could not be reached, went away, or did not answer in time. */
export class NetworkError extends KafkaError {
  override readonly name = "NetworkError";
  /** "host:port". */
  readonly broker: string;

  constructor(
    code: "CONNECTION_FAILED" | "NETWORK_EXCEPTION" | "REQUEST_TIMED_OUT",
    broker: string,
    message: string,
    options?: KafkaErrorOptions,
  ) {
    super(code, `${broker}: ${message}`, options);
    this.broker = broker;
  }
}

/** The broker does not accept who we say we are, or we cannot accept the broker. */
export class AuthenticationError extends KafkaError {
  override readonly name = "AuthenticationError";
  readonly broker: string;

  constructor(
    code: "SASL_AUTHENTICATION_FAILED" | "UNSUPPORTED_SASL_MECHANISM" | "ILLEGAL_SASL_STATE",
    broker: string,
    message: string,
    options?: KafkaErrorOptions,
  ) {
    super(code, `${broker}: ${message}`, options);
    this.broker = broker;
  }
}

/** A key, value or header could not be made into bytes. */
export class SerializationError extends KafkaError {
  override readonly name = "SerializationError";
  readonly topic: string;

  constructor(topic: string, message: string, options?: KafkaErrorOptions) {
    super("SERIALIZATION_FAILED", `record for ${topic}: ${message}`, options);
    this.topic = topic;
  }
}

/** One record is larger than a request may be. */
export class RecordTooLargeError extends KafkaError {
  override readonly name = "RecordTooLargeError";
  readonly sizeBytes: number;
  readonly limitBytes: number;

  constructor(topic: string, sizeBytes: number, limitBytes: number, limitName: string) {
    super("MESSAGE_TOO_LARGE", `record for ${topic} is ${sizeBytes} bytes; ${limitName} is ${limitBytes}`);
    this.sizeBytes = sizeBytes;
    this.limitBytes = limitBytes;
  }
}

/** The producer's buffer stayed full for as long as a caller was willing to wait, or too many waited already: waitedMs 0. */
export class BufferExhaustedError extends KafkaError {
  override readonly name = "BufferExhaustedError";
  readonly waitedMs: number;
  readonly limitBytes: number;

  constructor(waitedMs: number, limitBytes: number) {
    const waited =
      waitedMs > 0 ? ` within ${Math.round(waitedMs)} ms` : ", nor for more records to wait; await sends or writable()";
    super("BUFFER_EXHAUSTED", `no room in bufferMemory (${formatBytes(limitBytes)})${waited}`);
    this.waitedMs = waitedMs;
    this.limitBytes = limitBytes;
  }
}

/**
 * A record was given up after the broker refused it or could not be asked again.
 *
 * cause: what went wrong, with the same code. attempts: requests that carried the record.
 */
export class DeliveryError extends KafkaError {
  override readonly name = "DeliveryError";
  readonly topic: string;
  readonly partition: number;

  constructor(
    where: { readonly topic: string; readonly partition: number },
    attempts: number,
    cause: KafkaError,
    persisted: Persisted,
  ) {
    const message = `${cause.message} (attempts: ${attempts})`;
    super(cause.code, message, { cause, retriable: cause.retriable, persisted, attempts });
    this.topic = where.topic;
    this.partition = where.partition;
  }
}

/** A record was not acknowledged within deliveryTimeoutMs. cause: the error of the last attempt, if there was one. */
export class DeliveryTimeoutError extends KafkaError {
  override readonly name = "DeliveryTimeoutError";
  readonly topic: string;
  readonly partition: number;
  readonly elapsedMs: number;

  constructor(
    where: { readonly topic: string; readonly partition: number },
    attempts: number,
    elapsedMs: number,
    options?: KafkaErrorOptions,
  ) {
    const last = options?.cause instanceof Error ? `; last: ${options.cause.message}` : "";
    super(
      "DELIVERY_TIMEOUT",
      `${where.topic}-${where.partition}: not acknowledged after ${Math.round(elapsedMs)} ms and ${attempts} attempts${last}`,
      { ...options, attempts },
    );
    this.topic = where.topic;
    this.partition = where.partition;
    this.elapsedMs = elapsedMs;
  }
}

/** A flush or close took longer than its timeoutMs. */
export class FlushTimeoutError extends KafkaError {
  override readonly name = "FlushTimeoutError";
  /** Those without a fate: a flush leaves them under way, a close gives them up. */
  readonly recordCount: number;

  constructor(message: string, recordCount: number) {
    super("TIMED_OUT", message, { persisted: "maybe" });
    this.recordCount = recordCount;
  }
}

/** The circuit breaker is open: nothing was tried. */
export class CircuitOpenError extends KafkaError {
  override readonly name = "CircuitOpenError";
  /** Until the next attempt is let through. */
  readonly retryAfterMs: number;

  constructor(what: string, retryAfterMs: number) {
    super("CIRCUIT_OPEN", `${what}: circuit open; next attempt in ${Math.ceil(retryAfterMs)} ms`);
    this.retryAfterMs = retryAfterMs;
  }
}

/** Some records of one sendBatch failed. results: what became of each, in the order they were given. */
export class SendBatchError<Result = unknown> extends KafkaError {
  override readonly name = "SendBatchError";
  readonly results: readonly (Result | KafkaError)[];

  constructor(results: readonly (Result | KafkaError)[]) {
    const failures = results.filter((result): result is KafkaError => result instanceof KafkaError);
    super(
      "SEND_BATCH_FAILED",
      `${failures.length} of ${results.length} records failed; first: ${failures[0]?.message}`,
      {
        cause: failures[0],
        retriable: failures.every((failure) => failure.retriable),
        persisted: failures.some((failure) => failure.persisted === "maybe") ? "maybe" : "no",
        attempts: failures.reduce((most, { attempts }) => Math.max(most, attempts), 0),
      },
    );
    this.results = results;
  }
}

/** Anything thrown, as a KafkaError: what is none yet becomes the cause of one with this code. */
export function toKafkaError(error: unknown, code: ErrorCode, where: string): KafkaError {
  if (error instanceof KafkaError) return error;
  return new KafkaError(code, `${where}: ${error instanceof Error ? error.message : String(error)}`, { cause: error });
}
