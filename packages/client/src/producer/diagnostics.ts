/**
 * What the producer tells on `node:diagnostics_channel`: the names of its channels and what is published on each.
 *
 * Nothing is made or published on a channel that nobody subscribed to, and nothing per record: by batch and by request.
 * No message holds a key or a value.
 */

import { channel } from "node:diagnostics_channel";
import type { KafkaError } from "@millrace/protocol";
import type { MessageBatch } from "./message-batch.ts";

/** The channels, and the type of what is published on each. */
export interface ProducerDiagnostics {
  /** A produce request is written. The same object is published again when it ends. */
  "millrace:producer:request:start": ProduceRequestMessage;
  /** It was answered. The answer may refuse some of its batches. */
  "millrace:producer:request:end": ProduceRequestMessage;
  /** It got no answer: whether its batches are in the log is not known. */
  "millrace:producer:request:error": ProduceRequestMessage & { readonly error: KafkaError };
  "millrace:producer:batch:acknowledged": BatchMessage & {
    /** -1n where the broker gave none. */ readonly baseOffset: bigint;
  };
  /** A batch goes back, to be sent again as it is. */
  "millrace:producer:batch:retried": BatchMessage & { readonly error: KafkaError };
  /** The records of a batch were rejected. */
  "millrace:producer:batch:failed": BatchMessage & { readonly error: KafkaError };
  /** A broker found it too large; its records go on in smaller ones. */
  "millrace:producer:batch:split": BatchMessage;
}

export interface BatchMessage {
  readonly clientId: string;
  readonly topic: string;
  readonly partition: number;
  readonly recordCount: number;
  /** Before compression. */
  readonly sizeBytes: number;
  /** Requests that carried it so far. */
  readonly attempts: number;
}

/** One object a request, so that subscribers can keep something beside it in a WeakMap. */
export interface ProduceRequestMessage {
  readonly clientId: string;
  readonly nodeId: number;
  readonly batches: readonly BatchMessage[];
}

const requestStart = channel("millrace:producer:request:start");
const requestEnd = channel("millrace:producer:request:end");
const requestError = channel("millrace:producer:request:error");
const batchAcknowledged = channel("millrace:producer:batch:acknowledged");
const batchRetried = channel("millrace:producer:batch:retried");
const batchFailed = channel("millrace:producer:batch:failed");
const batchSplit = channel("millrace:producer:batch:split");

export class ProducerEvents {
  readonly #clientId: string;

  constructor(clientId: string) {
    this.#clientId = clientId;
  }

  /** Null if nobody listens. */
  requestStarted(nodeId: number, request: readonly { readonly batch: MessageBatch }[]): ProduceRequestMessage | null {
    if (!requestStart.hasSubscribers && !requestEnd.hasSubscribers && !requestError.hasSubscribers) return null;
    const batches = request.map(({ batch }) => this.#describe(batch));
    const message: ProduceRequestMessage = { clientId: this.#clientId, nodeId, batches };
    requestStart.publish(message);
    return message;
  }

  requestEnded(message: ProduceRequestMessage | null): void {
    if (message !== null) requestEnd.publish(message);
  }

  requestFailed(message: ProduceRequestMessage | null, error: KafkaError): void {
    if (message !== null) requestError.publish(Object.assign(message, { error }));
  }

  batchAcknowledged(batch: MessageBatch, baseOffset: bigint): void {
    if (batchAcknowledged.hasSubscribers) batchAcknowledged.publish({ ...this.#describe(batch), baseOffset });
  }

  batchRetried(batch: MessageBatch, error: KafkaError): void {
    if (batchRetried.hasSubscribers) batchRetried.publish({ ...this.#describe(batch), error });
  }

  batchFailed(batch: MessageBatch, error: KafkaError): void {
    if (batchFailed.hasSubscribers) batchFailed.publish({ ...this.#describe(batch), error });
  }

  batchSplit(batch: MessageBatch): void {
    if (batchSplit.hasSubscribers) batchSplit.publish(this.#describe(batch));
  }

  #describe({ topic, partition, recordCount, sizeBytes, attemptCount }: MessageBatch): BatchMessage {
    return { clientId: this.#clientId, topic, partition, recordCount, sizeBytes, attempts: attemptCount };
  }
}
