/** What goes wrong with a connection, in the words of who must mend it. */

import { KafkaError } from "@millrace/protocol";
import { AuthenticationError, ClosedError, NetworkError } from "../errors.ts";

/** Nothing was sent yet. error: null where the other side closed it without a word. */
export function connectionFailed(error: unknown, broker: string): KafkaError {
  if (error instanceof KafkaError) return error;
  const detail = error instanceof Error ? detailOf(error) : "closed by the other side";
  return new NetworkError("CONNECTION_FAILED", broker, detail, { cause: error, retriable: !isTlsRefusal(error) });
}

/** The stream ended. */
export function connectionLost(cause: Error | null, broker: string): KafkaError {
  const detail = cause === null ? "the broker closed the connection" : `connection lost: ${detailOf(cause)}`;
  return new NetworkError("NETWORK_EXCEPTION", broker, detail, { cause, retriable: !isTlsRefusal(cause) });
}

/** The stream ended at the first request of a client that has not logged in. Or the broker was about to go away just then. */
export function refusedSilently(broker: string): KafkaError {
  const detail = "the broker closed the connection; perhaps it asks for SASL";
  return new AuthenticationError("ILLEGAL_SASL_STATE", broker, detail, { retriable: true });
}

/** One request that went down with the connection; it may have arrived. */
export function abandoned(what: string, broker: string, reason: KafkaError): KafkaError {
  const options = { cause: reason, persisted: "maybe" } as const;
  if (reason instanceof ClosedError) return new ClosedError(`${what} to ${broker}`, options);
  return new NetworkError("NETWORK_EXCEPTION", broker, `${what} not answered: ${reason.message}`, {
    ...options,
    retriable: !(reason instanceof NetworkError) || reason.retriable,
  });
}

/** what: "answer", "Produce v9 answer". */
export function malformed(error: unknown, broker: string, what: string): KafkaError {
  const detail = error instanceof Error ? error.message : String(error);
  return new KafkaError("MALFORMED_MESSAGE", `${broker}: ${what}: ${detail}`, { cause: error, persisted: "maybe" });
}

const TLS_ALERT = 0x15;
const TLS_MAJOR_VERSION = 0x03;

/** What answers here instead of a Kafka broker that speaks plain text; null: nobody that can be told. */
export function foreignProtocol(bytes: Buffer): Error | null {
  if (bytes[0] === TLS_ALERT && bytes[1] === TLS_MAJOR_VERSION) return new Error("the broker speaks TLS here; set ssl");
  if (bytes.toString("latin1", 0, 5) === "HTTP/") {
    return new Error("an HTTP server answers here, not a Kafka broker; is the port right?");
  }
  return null;
}

/** Certificates that one side does not accept, and a side that does not speak TLS: no retry mends that. */
function isTlsRefusal(error: unknown): boolean {
  if (!(error instanceof Error) || !("code" in error)) return false;
  return /^ERR_(SSL|TLS|OSSL)_|^EPROTO$|CERT|SIGNATURE|^UNABLE_TO_/.test(String(error.code));
}

/** OpenSSL's messages are a line of numbers and places in its source; its reason is what a person can read. */
function detailOf(error: Error): string {
  return "reason" in error && typeof error.reason === "string" ? `TLS: ${error.reason}` : error.message;
}
