/** How many bytes a second clients may write and read: the quotas, which of them holds for a client, and what it has used. */

import type { Clock, FileSystem } from "@millrace/base";
import { KafkaError } from "@millrace/protocol";
import { StoredList } from "../stored-list.ts";
import { type ClientQuota, entityKey, type QuotaEntity, type QuotaName, readQuota } from "./client-quota.ts";
import { type BucketLimits, TokenBucket } from "./token-bucket.ts";

/** Quotas that a broker keeps. */
const MAX_QUOTAS = 10_000;
/** Clients whose use is remembered. One more, and those are forgotten that have used nothing lately. */
const BUCKET_LIMIT = 10_000;

/** As long as the wire's field can say. */
const LONGEST_PAUSE_MS = 2 ** 31 - 1;

/** Who a client is, as far as quotas go. */
export interface QuotaClient {
  /** Without "User:". */
  readonly user: string;
  /** "" if it has none. */
  readonly clientId: string;
}

export interface ClientQuotasParts {
  readonly fileSystem: FileSystem;
  /** quotas.json in the data dir. */
  readonly path: string;
  readonly clock: Clock;
  /** A client that has paused may use at once what its quota gives in so long. */
  readonly burstMs: number;
}

/** A change of one entity's quotas. Null takes a quota away. */
export interface QuotaChange {
  readonly entity: QuotaEntity;
  readonly values: ReadonlyMap<QuotaName, number | null>;
}

/** The quota that holds for a client: how much, and whose use counts together. */
interface Found {
  readonly rate: number;
  readonly shareKey: string;
}

export class ClientQuotas {
  readonly #parts: ClientQuotasParts;
  readonly #stored: StoredList<ClientQuota>;
  #index: ReadonlyMap<string, ClientQuota> = new Map();
  readonly #buckets = new Map<string, TokenBucket>();

  /** Rejects with KAFKA_STORAGE_ERROR if the file is damaged. */
  static async open(parts: ClientQuotasParts): Promise<ClientQuotas> {
    const { fileSystem, path } = parts;
    return new ClientQuotas(parts, await StoredList.open({ fileSystem, path, read: readQuota }));
  }

  private constructor(parts: ClientQuotasParts, stored: StoredList<ClientQuota>) {
    this.#parts = parts;
    this.#stored = stored;
    this.#takeOver();
  }

  find(isMeant: (entity: QuotaEntity) => boolean): ClientQuota[] {
    return this.#stored.items.filter(({ entity }) => isMeant(entity));
  }

  /** In force once it resolves, for connections that are open too. Rejects with INVALID_REQUEST or KAFKA_STORAGE_ERROR. */
  async change({ entity, values }: QuotaChange): Promise<void> {
    const key = entityKey(entity);
    await this.#stored.change((items) => {
      const others = items.filter((item) => entityKey(item.entity) !== key);
      const before = items.find((item) => entityKey(item.entity) === key)?.values ?? {};
      const after: Partial<Record<QuotaName, number>> = { ...before };
      for (const [name, rate] of values) {
        if (rate === null) delete after[name];
        else after[name] = rate;
      }
      if (Object.keys(after).length === 0) return others.length === items.length ? items : others;
      if (others.length >= MAX_QUOTAS) {
        throw new KafkaError("INVALID_REQUEST", `there may be quotas of ${MAX_QUOTAS} users and client ids`);
      }
      return [...others, { entity, values: after }];
    });
    this.#takeOver();
  }

  /**
   * Counts bytes that a client has sent or is about to be sent.
   *
   * Returns for how many milliseconds it has to pause, which brings it down to its quota; 0 if it is within it.
   */
  charge(name: QuotaName, client: QuotaClient, sizeBytes: number): number {
    if (this.#index.size === 0) return 0;
    const found = this.#quotaOf(name, client);
    if (found === null) return 0;
    const nowMs = this.#parts.clock.nowMs();
    const limits = this.#limitsOf(found);
    const key = `${name} ${found.shareKey}`;
    let bucket = this.#buckets.get(key);
    if (bucket === undefined) {
      if (this.#buckets.size >= BUCKET_LIMIT) this.#forgetFull(nowMs);
      bucket = new TokenBucket(limits, nowMs);
      this.#buckets.set(key, bucket);
    }
    return Math.min(bucket.take(sizeBytes, limits, nowMs), LONGEST_PAUSE_MS);
  }

  /** The most that one answer should bring a client, lest it has to pause for long. */
  answerLimitBytes(name: QuotaName, client: QuotaClient): number {
    const found = this.#index.size === 0 ? null : this.#quotaOf(name, client);
    return found === null ? Number.POSITIVE_INFINITY : Math.floor(this.#limitsOf(found).capacity);
  }

  /**
   * The first of these that has such a quota, and who shares it. Source: Kafka, ClientQuotaManager; KIP-257.
   *
   *     user                client-id           used together by
   *     its own             its own             this user with this client id
   *     its own             default             this user with this client id
   *     its own             –                   all that this user does
   *     default             its own             this user with this client id
   *     default             default             this user with this client id
   *     default             –                   all that this user does
   *     –                   its own             all with this client id
   *     –                   default             all with this client id
   */
  #quotaOf(name: QuotaName, { user, clientId }: QuotaClient): Found | null {
    for (const [entity, share] of [
      [
        { user, "client-id": clientId },
        { user, "client-id": clientId },
      ],
      [
        { user, "client-id": null },
        { user, "client-id": clientId },
      ],
      [{ user }, { user }],
      [
        { user: null, "client-id": clientId },
        { user, "client-id": clientId },
      ],
      [
        { user: null, "client-id": null },
        { user, "client-id": clientId },
      ],
      [{ user: null }, { user }],
      [{ "client-id": clientId }, { "client-id": clientId }],
      [{ "client-id": null }, { "client-id": clientId }],
    ] satisfies [QuotaEntity, QuotaEntity][]) {
      const rate = this.#index.get(entityKey(entity))?.values[name];
      if (rate !== undefined) return { rate, shareKey: entityKey(share) };
    }
    return null;
  }

  #limitsOf({ rate }: Found): BucketLimits {
    return { rate, capacity: Math.max((rate * this.#parts.burstMs) / 1000, 1) };
  }

  /** If none is full, the oldest: its client has its quota again at once, and no more. */
  #forgetFull(nowMs: number): void {
    for (const [key, bucket] of this.#buckets) if (bucket.isFull(nowMs)) this.#buckets.delete(key);
    if (this.#buckets.size < BUCKET_LIMIT) return;
    for (const key of this.#buckets.keys()) {
      this.#buckets.delete(key);
      return;
    }
  }

  #takeOver(): void {
    this.#index = new Map(this.#stored.items.map((quota) => [entityKey(quota.entity), quota]));
  }
}
