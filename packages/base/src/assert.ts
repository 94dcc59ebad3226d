/** Assertions: for what only we can get wrong. What the world can do to us is a KafkaError, never an assert. */

export class AssertionError extends Error {
  override readonly name = "AssertionError";
}

export function assert(condition: boolean, message: string): asserts condition {
  if (!condition) throw new AssertionError(message);
}

/** The default branch of an exhaustive switch: compiles only while every case is handled. */
export function never(value: never): never {
  throw new AssertionError(`unexpected value: ${String(value)}`);
}
