/** A producer whose sends are spans. */

import { KafkaError } from "@millrace/protocol";
import {
  type Attributes,
  type Context,
  context as contexts,
  type Span,
  SpanKind,
  SpanStatusCode,
  type Tracer,
  type TracerProvider,
  trace,
} from "@opentelemetry/api";
import type { Delivery } from "../producer/completion.ts";
import type { ProduceOptions, Producer, SendBatchOptions, SendOptions } from "../producer/producer.ts";
import type { ProducerRecord, RecordMetadata } from "../producer/record.ts";
import { injectContext } from "./trace-context.ts";

export interface TracedProducerOptions {
  /** The global one unless told otherwise. */
  readonly tracerProvider?: TracerProvider;
  /** Writes the trace context into the headers of each record, so that its readers go on with the trace. */
  readonly injectContext?: boolean;
}

export const TRACER_NAME = "@millrace/client";

/**
 * Sends as the producer does, each `send` and `produce` in a span that ends with its acknowledgement, each `sendBatch` in
 * one for all.
 *
 * Spans are of kind PRODUCER, named and attributed after OpenTelemetry's messaging conventions. No key or value is in
 * them. The producer itself is as it was: who sends without spans pays nothing for those with.
 */
export class TracedProducer {
  readonly #producer: Producer;
  readonly #tracer: Tracer;
  readonly #injects: boolean;

  constructor(producer: Producer, options: TracedProducerOptions = {}) {
    this.#producer = producer;
    this.#tracer = (options.tracerProvider ?? trace.getTracerProvider()).getTracer(TRACER_NAME);
    this.#injects = options.injectContext ?? false;
  }

  send(record: ProducerRecord, options?: SendOptions): Promise<RecordMetadata> {
    const sent = this.#send(record, options);
    // Whoever has a callback for it has handled it, as with the producer itself.
    if (options?.onError !== undefined) sent.catch(() => {});
    return sent;
  }

  async #send(record: ProducerRecord, options: SendOptions | undefined): Promise<RecordMetadata> {
    const { span, context } = this.#start(record.topic, {});
    try {
      const metadata = await this.#producer.send(this.#prepare(record, context), options);
      span.setAttributes(placeOf(metadata));
      return metadata;
    } catch (error) {
      fail(span, error);
      throw error;
    } finally {
      span.end();
    }
  }

  /** Its span ends with the delivery's fate, not when the record is buffered. */
  async produce(record: ProducerRecord, options?: ProduceOptions): Promise<Delivery> {
    const { span, context } = this.#start(record.topic, {});
    const failed = (error: unknown) => {
      fail(span, error);
      span.end();
    };
    try {
      const delivery = await this.#producer.produce(this.#prepare(record, context), options);
      delivery.acknowledged.then((metadata) => {
        span.setAttributes(placeOf(metadata));
        span.end();
      }, failed);
      return delivery;
    } catch (error) {
      failed(error);
      throw error;
    }
  }

  async sendBatch(records: readonly ProducerRecord[], options?: SendBatchOptions): Promise<RecordMetadata[]> {
    const topics = new Set(records.map((record) => record.topic));
    const [only] = topics;
    const count = { "messaging.batch.message_count": records.length };
    const { span, context } = this.#start(topics.size === 1 ? only : undefined, count);
    try {
      const prepared = this.#injects ? records.map((record) => injectContext(record, context)) : records;
      return await this.#producer.sendBatch(prepared, options);
    } catch (error) {
      fail(span, error);
      throw error;
    } finally {
      span.end();
    }
  }

  #start(topic: string | undefined, attributes: Attributes): { readonly span: Span; readonly context: Context } {
    const parent = contexts.active();
    const span = this.#tracer.startSpan(
      topic === undefined ? "send" : `send ${topic}`,
      {
        kind: SpanKind.PRODUCER,
        attributes: {
          ...MESSAGING_ATTRIBUTES,
          "messaging.operation.name": "send",
          "messaging.operation.type": "send",
          ...(topic === undefined ? {} : { "messaging.destination.name": topic }),
          ...attributes,
        },
      },
      parent,
    );
    return { span, context: trace.setSpan(parent, span) };
  }

  #prepare(record: ProducerRecord, context: Context): ProducerRecord {
    return this.#injects ? injectContext(record, context) : record;
  }
}

export const MESSAGING_ATTRIBUTES = { "messaging.system": "kafka" } as const;

function placeOf({ partition, offset }: RecordMetadata): Attributes {
  return { "messaging.destination.partition.id": String(partition), "messaging.kafka.offset": Number(offset) };
}

/** Says what failed, and whether it may be in the log all the same. */
export function fail(span: Span, error: unknown): void {
  const message = error instanceof Error ? error.message : String(error);
  span.setStatus({ code: SpanStatusCode.ERROR, message });
  if (error instanceof KafkaError) {
    span.setAttributes({ "error.type": error.code, "millrace.persisted": error.persisted });
  }
}
