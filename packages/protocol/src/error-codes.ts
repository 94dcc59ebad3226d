/** Kafka's error table, and our own codes in its style: what each means for a retry, over HTTP, and for the person who reads it. */

export interface ErrorEntry {
  /** The number on the wire; our own codes, which never travel, have none and say -1. */
  readonly number: number;
  readonly code: string;
  readonly retriable: boolean;
  readonly refreshMetadata: boolean;
  readonly httpStatus: number;
  /** What to do about it, in a sentence. */
  readonly advice: string;
}

export type ErrorCode = string;

export function errorByNumber(errorNumber: number): ErrorEntry {
  return {
    number: errorNumber,
    code: "UNKNOWN_SERVER_ERROR",
    retriable: false,
    refreshMetadata: false,
    httpStatus: 500,
    advice: "",
  };
}

export function errorByCode(code: ErrorCode): ErrorEntry {
  return { ...errorByNumber(-1), code };
}
