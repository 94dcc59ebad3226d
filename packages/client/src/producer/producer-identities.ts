/** Gets producer ids from the cluster, one before the first batch and another when that is spent (KIP-98). */

import type { Clock, Logger, Random, Timer } from "@millrace/base";
import { BrokerError, initProducerIdApi, type KafkaError } from "@millrace/protocol";
import type { Cluster } from "../cluster/cluster.ts";
import { toKafkaError } from "../errors.ts";
import { backoffMs } from "../retry.ts";
import type { ProducerIdentity } from "./idempotence.ts";

export interface ProducerIdentitiesParts {
  readonly clock: Clock;
  readonly random: Random;
  readonly logger: Logger;
  readonly cluster: Cluster;
  readonly options: {
    readonly requestTimeoutMs: number;
    readonly retryBackoffMs: number;
    readonly retryBackoffMaxMs: number;
  };
  /** A new identity is there. */
  readonly onIdentity: () => void;
  /** The cluster gave none. It is asked again by itself if the error is retriable, else when the next record needs one. */
  readonly onFailure: (error: KafkaError) => void;
}

export class ProducerIdentities {
  readonly #parts: ProducerIdentitiesParts;
  #current: ProducerIdentity | null = null;
  #isAsking = false;
  #isClosed = false;
  #retryTimer: Timer | null = null;
  #failureCount = 0;

  constructor(parts: ProducerIdentitiesParts) {
    this.#parts = parts;
  }

  /** Null until one has come: nothing can be sent. */
  get current(): ProducerIdentity | null {
    return this.#current;
  }

  /** Asks for the first one, unless it is there, on its way, or asked for again soon. */
  prepare(): void {
    if (this.#current === null) this.#ask();
  }

  /** An identity with another producer id than the spent one's, or null: then it is asked for. */
  other(spent: ProducerIdentity | null): ProducerIdentity | null {
    if (this.#current !== null && this.#current.producerId !== spent?.producerId) return this.#current;
    this.#ask();
    return null;
  }

  close(): void {
    this.#isClosed = true;
    this.#retryTimer?.cancel();
  }

  #ask(): void {
    if (this.#isAsking || this.#isClosed || this.#retryTimer !== null) return;
    this.#isAsking = true;
    this.#request().then(
      (identity) => {
        this.#isAsking = false;
        this.#failureCount = 0;
        this.#current = identity;
        this.#parts.onIdentity();
      },
      (error: unknown) => {
        this.#isAsking = false;
        if (this.#isClosed) return;
        const { clock, random, logger, options, onFailure } = this.#parts;
        const reason = toKafkaError(error, "NETWORK_EXCEPTION", "ask for a producer id");
        logger.warn({ err: error }, reason.retriable ? "no producer id yet" : "no producer id");
        onFailure(reason);
        if (!reason.retriable) return;
        const limits = { baseMs: options.retryBackoffMs, maxMs: options.retryBackoffMaxMs };
        this.#retryTimer = clock.schedule(backoffMs(this.#failureCount++, random, limits), () => {
          this.#retryTimer = null;
          this.#ask();
        });
      },
    );
  }

  async #request(): Promise<ProducerIdentity> {
    const connection = await this.#parts.cluster.anyConnection();
    const response = await connection.request(initProducerIdApi, {
      transactionalId: null,
      // A producer without transactions has none that could time out; the field must be positive all the same.
      transactionTimeoutMs: this.#parts.options.requestTimeoutMs,
      producerId: -1n,
      producerEpoch: -1,
    });
    if (response.errorCode !== 0) throw BrokerError.fromNumber(response.errorCode, "ask for a producer id");
    return { producerId: response.producerId, producerEpoch: response.producerEpoch };
  }
}
