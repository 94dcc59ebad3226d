/** A span for every produce request of every producer in the process. */

import { subscribe, unsubscribe } from "node:diagnostics_channel";
import { type Span, SpanKind, type TracerProvider, trace } from "@opentelemetry/api";
import type { ProduceRequestMessage, ProducerDiagnostics } from "../producer/diagnostics.ts";
import { fail, MESSAGING_ATTRIBUTES, TRACER_NAME } from "./traced-producer.ts";

type RequestError = ProducerDiagnostics["millrace:producer:request:error"];

/**
 * Starts telling produce requests as spans of kind CLIENT. Returns what stops it.
 *
 * A request carries the records of many sends, so it is the child of none of theirs: each of these spans is a root.
 */
export function traceProduceRequests(options: { readonly tracerProvider?: TracerProvider } = {}): () => void {
  const tracer = (options.tracerProvider ?? trace.getTracerProvider()).getTracer(TRACER_NAME);
  const spans = new WeakMap<object, Span>();

  const onStart = (message: unknown) => {
    const { clientId, nodeId, batches } = message as ProduceRequestMessage; // the channel's own type
    const span = tracer.startSpan(`produce broker ${nodeId}`, {
      root: true,
      kind: SpanKind.CLIENT,
      attributes: {
        ...MESSAGING_ATTRIBUTES,
        "messaging.client.id": clientId,
        "messaging.operation.name": "produce",
        "messaging.batch.message_count": batches.reduce((sum, { recordCount }) => sum + recordCount, 0),
        "millrace.broker.id": nodeId,
        "millrace.batches": batches.length,
        "millrace.bytes": batches.reduce((sum, { sizeBytes }) => sum + sizeBytes, 0),
      },
    });
    spans.set(message as ProduceRequestMessage, span);
  };
  const onEnd = (message: unknown) => spans.get(message as ProduceRequestMessage)?.end();
  const onError = (message: unknown) => {
    const { error } = message as RequestError;
    const span = spans.get(message as RequestError);
    if (span === undefined) return;
    fail(span, error);
    span.end();
  };

  subscribe("millrace:producer:request:start", onStart);
  subscribe("millrace:producer:request:end", onEnd);
  subscribe("millrace:producer:request:error", onError);
  return () => {
    unsubscribe("millrace:producer:request:start", onStart);
    unsubscribe("millrace:producer:request:end", onEnd);
    unsubscribe("millrace:producer:request:error", onError);
  };
}
