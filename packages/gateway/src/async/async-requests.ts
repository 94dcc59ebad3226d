/** AsyncRequests: takes requests on disk, answers before their records are stored, stores them, and remembers how it went. */

import {
  assert,
  BoundedQueue,
  type Clock,
  type FileSystem,
  type Logger,
  type Random,
  sleep,
  type Timer,
} from "@millrace/base";
import { KafkaError } from "@millrace/protocol";
import { RequestError } from "../errors.ts";
import type { Metrics } from "../metrics.ts";
import { type ProduceRequest, readRecords } from "../produce-request.ts";
import { causeOf } from "../produce-response.ts";
import { type ProduceSettings, readProduceSettings } from "../produce-settings.ts";
import { ProducerContext } from "../producer-context.ts";
import type { Producers } from "../producers.ts";
import { RecordOutcomes } from "../record-outcomes.ts";
import type { Schemas } from "../registry/schemas.ts";
import type { ScannedRecords } from "../scanned-records.ts";
import { isUnknownTopic, type TopicDirectory } from "../topic-directory.ts";
import { traceOf } from "../trace-headers.ts";
import { AsyncRequest, type AsyncState, type ScannedRequest } from "./async-request.ts";
import { type Entry, type EntryPlace, RequestJournal } from "./request-journal.ts";
import { type RequestResult, restoreOutcomes, resultOf, runsOf } from "./request-result.ts";

const ID_BYTES = 16;
/** Requests under way at once, and the bytes of their bodies: what memory they take beside the producer's buffer. */
const ACTIVE_LIMIT = 1_000;
const ACTIVE_LIMIT_BYTES = 8 * 1024 * 1024;
/** Bodies of requests whose turn has not come are kept in memory up to here; beyond they are read back from the journal. */
const WAITING_LIMIT_BYTES = 16 * 1024 * 1024;
const SEGMENT_BYTES = 16 * 1024 * 1024;
/** While brokers are away: from the first pause between two attempts to the longest. */
const RETRY_BACKOFF_MS = 100;
const RETRY_BACKOFF_MAX_MS = 5_000;

export interface AsyncRequestsOptions {
  readonly deliveryTimeoutMs: number;
  readonly asyncRequestsLimit: number;
  readonly asyncLimitBytes: number;
  readonly asyncRetentionMs: number;
  readonly asyncSweepMs: number;
  readonly asyncTimeoutLimitMs: number;
}

export interface AsyncRequestsParts {
  readonly options: AsyncRequestsOptions;
  readonly directory: string;
  readonly fileSystem: FileSystem;
  readonly clock: Clock;
  readonly random: Random;
  readonly logger: Logger;
  readonly producers: Producers;
  readonly topics: TopicDirectory;
  readonly schemas: Pick<Schemas, "codecsFor">;
  readonly metrics: Metrics;
}

/**
 * Two journals, so that bodies, which are large, go as soon as they are stored, and results stay for their time:
 *
 *     accepted-…   a request as it came; needed until its result is in the other
 *     results-…    a result; what was stored before a stop; that a request was forgotten
 *
 * A request is accepted once its entry in the first is on disk. One that has no result in the second is taken up again
 * at the next start.
 */
export class AsyncRequests {
  readonly #parts: AsyncRequestsParts;
  readonly #accepted: RequestJournal;
  readonly #results: RequestJournal;
  readonly #requests: Map<string, AsyncRequest>;
  readonly #queue: BoundedQueue<AsyncRequest>;
  readonly #running = new Set<Promise<void>>();
  readonly #executions = new Set<Execution>();
  readonly #closing = new AbortController();
  #activeBytes = 0;
  #waitingBytes = 0;
  /** Requests whose entry is being written. */
  #acceptingCount = 0;
  #acceptingBytes = 0;
  #sweepTimer: Timer | null = null;
  #tidying: Promise<void> | null = null;
  /** Of the requests; they stay until their entries are gone from the disk. */
  #forgottenCount = 0;

  private constructor(
    parts: AsyncRequestsParts,
    journals: { readonly accepted: RequestJournal; readonly results: RequestJournal },
    requests: Map<string, AsyncRequest>,
  ) {
    this.#parts = parts;
    this.#accepted = journals.accepted;
    this.#results = journals.results;
    this.#requests = requests;
    for (const { isForgotten } of requests.values()) if (isForgotten) this.#forgottenCount += 1;
    // Those that were accepted under a larger limit are still to be finished.
    this.#queue = new BoundedQueue(Math.max(parts.options.asyncRequestsLimit, requests.size, 1));
  }

  /** Reads what the last process left. Requests that it did not finish go on after `start`. */
  static async open(parts: AsyncRequestsParts): Promise<AsyncRequests> {
    const { directory, fileSystem, logger } = parts;
    const common = { directory, fileSystem, logger, segmentBytes: SEGMENT_BYTES };
    const recovery = new Recovery();
    const results = await RequestJournal.open({ ...common, name: "results", removal: "oldestFirst" }, (place, entry) =>
      recovery.readResult(place, entry),
    );
    const accepted = await RequestJournal.open({ ...common, name: "accepted", removal: "anyOrder" }, (place, entry) =>
      recovery.readAccepted(place, entry),
    );
    recovery.release(accepted, results);
    const asyncRequests = new AsyncRequests(parts, { accepted, results }, recovery.requests);
    await asyncRequests.#tidy();
    return asyncRequests;
  }

  /** Takes up what is unfinished, and begins to sweep. */
  start(): void {
    const unfinished = [...this.#requests.values()].filter((request) => !request.isFinal);
    if (unfinished.length > 0)
      this.#parts.logger.info({ count: unfinished.length }, "async requests are taken up again");
    for (const request of unfinished) this.#queue.push(request);
    this.#startNext();
    this.#scheduleSweep();
  }

  /** An id that nobody can guess. */
  newId(): string {
    return `req_${this.#parts.random.bytes(ID_BYTES).toString("base64url")}`;
  }

  /** Whether a request of this id was accepted, and is not thrown away yet. */
  has(id: string): boolean {
    return this.#requests.has(id);
  }

  /**
   * Resolves once the request is on disk: from then on it will be finished, by this process or the next.
   *
   * records: of the request, checked. id: of newId. Rejects with RequestError TOO_MANY_ASYNC_REQUESTS, or with KafkaError
   * KAFKA_STORAGE_ERROR if the disk does not take it.
   */
  async accept(
    produce: ProduceRequest,
    ownerId: string,
    records: ScannedRecords,
    id = this.newId(),
  ): Promise<AsyncRequest> {
    this.#checkLimits(produce);
    const { topic, query, mediaType, rawHeaders, body, receivedAtMs } = produce;
    const recordCount = records.length;
    const head = { id, ownerId, topic, query, mediaType, rawHeaders, receivedAtMs, recordCount };
    const acceptedAt = await this.#append(head, body);
    const request = new AsyncRequest({ id, ownerId, topic, submittedAtMs: receivedAtMs, recordCount, acceptedAt });
    this.#requests.set(id, request);
    const heldBytes = body.length + records.sizeBytes;
    if (this.#waitingBytes + heldBytes <= WAITING_LIMIT_BYTES) {
      request.request = { produce, records };
      this.#waitingBytes += heldBytes;
    }
    this.#queue.push(request);
    this.#startNext();
    return request;
  }

  /** Undefined for one that never was, is over and forgotten, or belongs to somebody else. */
  find(id: string, ownerId: string): AsyncRequest | undefined {
    const request = this.#requests.get(id);
    return request !== undefined && request.ownerId === ownerId && this.#isShown(request) ? request : undefined;
  }

  /** The owner's requests, newest first. */
  list(ownerId: string, isListed: (request: AsyncRequest) => boolean, limit: number): AsyncRequest[] {
    const listed: AsyncRequest[] = [];
    for (const request of this.#requests.values()) {
      if (request.ownerId !== ownerId || !this.#isShown(request) || !isListed(request)) continue;
      listed.push(request);
      // Twice the limit is enough to keep: the map has the oldest first.
      if (listed.length >= 2 * limit) listed.splice(0, limit);
    }
    return listed.slice(-limit).reverse();
  }

  /** While nothing of it is on its way to a broker, a request counts as pending again. */
  stateOf(request: AsyncRequest): AsyncState {
    if (request.state !== "processing" || request.outcomes?.pendingCount === 0) return request.state;
    return this.#parts.producers.isAsyncInFlight ? "processing" : "pending";
  }

  expiresAtMs(request: AsyncRequest): number {
    return request.updatedAtMs + this.#parts.options.asyncRetentionMs;
  }

  /** Of a final request. */
  async result(request: AsyncRequest): Promise<RequestResult> {
    assert(request.resultAt !== null, "a final request has its result in the journal");
    const { head } = await this.#results.read(request.resultAt);
    return head as unknown as RequestResult; // as we wrote it, and its CRC is right
  }

  /** Resolves once the request is final, after waitMs, or when the gateway closes. */
  waitForEnd(request: AsyncRequest, waitMs: number): Promise<void> {
    if (request.isFinal || this.#closing.signal.aborted) return Promise.resolve();
    return new Promise((resolve) => {
      const done = () => {
        timer.cancel();
        stop();
        resolve();
      };
      const timer = this.#parts.clock.schedule(waitMs, done);
      const stop = request.onEnd(done);
    });
  }

  /** Throws a final request away. */
  async forget(request: AsyncRequest): Promise<void> {
    assert(request.isFinal, "a request that is under way cannot be forgotten");
    await this.#results
      .append({ type: "forgotten", id: request.id }, null)
      .then((place) => this.#results.release(place));
    if (!request.isForgotten) this.#forgottenCount += 1;
    request.isForgotten = true;
  }

  /** Starts no further request, and lets nobody wait any longer. Those under way end with the producers' close. */
  beginClosing(): void {
    this.#closing.abort();
    this.#sweepTimer?.cancel();
    for (const execution of this.#executions) execution.beginClosing();
    for (const request of this.#requests.values()) request.tellEnd();
  }

  /** After the producers are closed: writes down how far each request is, and closes the journals. */
  async close(): Promise<void> {
    this.beginClosing();
    await Promise.all(this.#running);
    await this.#tidying;
    await this.#accepted.close();
    await this.#results.close();
  }

  #checkLimits({ body }: ProduceRequest): void {
    const { asyncRequestsLimit, asyncLimitBytes } = this.#parts.options;
    const heldCount = this.#requests.size + this.#acceptingCount;
    // Those that were forgotten make room; but for a while they take some, too.
    if (heldCount - this.#forgottenCount >= asyncRequestsLimit || heldCount >= 2 * asyncRequestsLimit) {
      const message = `${asyncRequestsLimit} async requests are kept; finished ones go after asyncRetentionMs, or by DELETE`;
      throw new RequestError("TOO_MANY_ASYNC_REQUESTS", message);
    }
    const takenBytes = this.#accepted.sizeBytes + this.#results.sizeBytes + this.#acceptingBytes;
    if (takenBytes + body.length <= asyncLimitBytes) return;
    const message = `async requests take ${takenBytes} bytes on disk, of asyncLimitBytes ${asyncLimitBytes}`;
    throw new RequestError("TOO_MANY_ASYNC_REQUESTS", message);
  }

  async #append(head: Readonly<Record<string, unknown>>, body: Buffer): Promise<EntryPlace> {
    this.#acceptingCount += 1;
    this.#acceptingBytes += body.length;
    try {
      return await this.#accepted.append(head, body);
    } catch (error) {
      const reason = error instanceof Error ? error.message : String(error);
      const message = `the request could not be written to disk: ${reason}`;
      throw new KafkaError("KAFKA_STORAGE_ERROR", message, { retriable: true, persisted: "maybe", cause: error });
    } finally {
      this.#acceptingCount -= 1;
      this.#acceptingBytes -= body.length;
    }
  }

  #isShown(request: AsyncRequest): boolean {
    if (request.isForgotten) return false;
    return !request.isFinal || this.expiresAtMs(request) > this.#parts.clock.timestampMs();
  }

  #startNext(): void {
    while (!this.#closing.signal.aborted && this.#running.size < ACTIVE_LIMIT) {
      const next = this.#queue.peek();
      if (next === undefined) return;
      const sizeBytes = next.acceptedAt?.sizeBytes ?? 0;
      if (this.#activeBytes > 0 && this.#activeBytes + sizeBytes > ACTIVE_LIMIT_BYTES) return;
      this.#queue.shift();
      this.#activeBytes += sizeBytes;
      const running = this.#run(next).finally(() => {
        this.#running.delete(running);
        this.#activeBytes -= sizeBytes;
        this.#startNext();
      });
      this.#running.add(running);
    }
  }

  /** Never rejects. */
  async #run(request: AsyncRequest): Promise<void> {
    try {
      const scanned = request.request ?? (await this.#readBack(request));
      if (request.request !== null) this.#waitingBytes -= scanned.produce.body.length + scanned.records.sizeBytes;
      request.request = null;
      if (!this.#closing.signal.aborted) await this.#execute(request, scanned);
    } catch (error) {
      // It has no result: the next start takes it up again.
      const reason = error instanceof Error ? error.stack : String(error);
      this.#parts.logger.error({ request: request.id, reason }, "async request broke off");
      request.tellEnd();
    }
  }

  async #execute(request: AsyncRequest, scanned: ScannedRequest): Promise<void> {
    const execution = new Execution(this.#parts, request, scanned);
    this.#executions.add(execution);
    try {
      await execution.run(
        (result) => this.#finish(request, result),
        () => this.#writeProgress(request),
      );
    } finally {
      this.#executions.delete(execution);
    }
  }

  async #readBack(request: AsyncRequest): Promise<ScannedRequest> {
    assert(request.acceptedAt !== null, "an unfinished request has its entry in the journal");
    const { head, body } = await this.#accepted.read(request.acceptedAt);
    const produce = { ...head, body } as unknown as ProduceRequest; // as we wrote it, and its CRC is right
    // It was within the limits when it was accepted, whatever they are now.
    return { produce, records: readRecords(produce, Number.MAX_SAFE_INTEGER) };
  }

  async #finish(request: AsyncRequest, result: RequestResult & { readonly state: AsyncState }): Promise<void> {
    const { id, ownerId, topic, submittedAtMs, recordCount, doneCount, failedCount, failure } = request;
    const updatedAtMs = this.#parts.clock.timestampMs();
    const about = {
      type: "result",
      id,
      ownerId,
      topic,
      submittedAtMs,
      updatedAtMs,
      recordCount,
      doneCount,
      failedCount,
    };
    const progressAt = request.resultAt;
    request.resultAt = await this.#appendResult({ ...about, failure, ...result });
    request.updatedAtMs = updatedAtMs;
    request.state = result.state;
    request.outcomes = null;
    if (progressAt !== null) this.#results.release(progressAt);
    if (request.acceptedAt !== null) this.#accepted.release(request.acceptedAt);
    request.tellEnd();
    if (request.acceptedAt?.segment.liveCount === 0) void this.#tidy();
  }

  /** Without its result the next process would do the request again: while the disk takes none, it is tried again. */
  async #appendResult(result: Readonly<Record<string, unknown>>): Promise<EntryPlace> {
    const { clock } = this.#parts;
    const { signal } = this.#closing;
    for (let backoffMs = RETRY_BACKOFF_MS; ; backoffMs = Math.min(2 * backoffMs, RETRY_BACKOFF_MAX_MS)) {
      try {
        return await this.#results.append(result, null);
      } catch (error) {
        if (signal.aborted) throw error;
        await sleep(clock, backoffMs, signal).catch(() => {});
      }
    }
  }

  /** What was stored must not be sent again by the next process. */
  async #writeProgress(request: AsyncRequest): Promise<void> {
    const { id, outcomes } = request;
    if (outcomes === null || outcomes.storedCount === 0) return;
    const before = request.resultAt;
    request.resultAt = await this.#results.append({ type: "progress", id, runs: runsOf(outcomes) }, null);
    if (before !== null) this.#results.release(before);
  }

  #scheduleSweep(): void {
    this.#sweepTimer = this.#parts.clock.schedule(
      this.#parts.options.asyncSweepMs,
      () => {
        this.#sweep();
        this.#scheduleSweep();
      },
      { background: true },
    );
  }

  /** Lets go of what nobody can ask for any more. */
  #sweep(): void {
    for (const [id, request] of this.#requests) {
      if (!request.isFinal || this.#isShown(request)) continue;
      // Its result must outlive its entry: without it the next start would take the request up again.
      if (request.acceptedAt !== null && this.#accepted.holds(request.acceptedAt)) continue;
      if (request.resultAt !== null) this.#results.release(request.resultAt);
      if (request.isForgotten) this.#forgottenCount -= 1;
      this.#requests.delete(id);
    }
    void this.#tidy();
  }

  /** Deletes the files that nobody needs. Never rejects: what is left is deleted another time. */
  #tidy(): Promise<void> {
    this.#tidying ??= Promise.all([this.#accepted.removeReleased(), this.#results.removeReleased()])
      .then(
        () => {},
        (error: unknown) => this.#parts.logger.warn({ reason: String(error) }, "journals could not be tidied"),
      )
      .finally(() => {
        this.#tidying = null;
      });
    return this.#tidying;
  }
}

/** One request's way from the journal to its result. */
class Execution {
  readonly #parts: AsyncRequestsParts;
  readonly #request: AsyncRequest;
  readonly #produce: ProduceRequest;
  readonly #records: ScannedRecords;
  readonly #settings: ProduceSettings;
  readonly #outcomes: RecordOutcomes;
  /** Ends a pause between two attempts. */
  readonly #stop = new AbortController();
  #isClosing = false;
  #isTimedOut = false;

  constructor(parts: AsyncRequestsParts, request: AsyncRequest, { produce, records }: ScannedRequest) {
    this.#parts = parts;
    this.#request = request;
    this.#produce = produce;
    this.#records = records;
    this.#settings = readProduceSettings(produce.query);
    this.#outcomes = request.outcomes ?? new RecordOutcomes(request.recordCount);
    request.outcomes = this.#outcomes;
  }

  /** No further attempt. */
  beginClosing(): void {
    this.#isClosing = true;
    this.#stop.abort();
  }

  async run(
    finish: (result: RequestResult & { readonly state: AsyncState }) => Promise<void>,
    writeProgress: () => Promise<void>,
  ): Promise<void> {
    const { clock, options } = this.#parts;
    const timer = clock.schedule(this.#settings.timeoutMs ?? options.deliveryTimeoutMs, () => this.#timeOut());
    try {
      await this.#attemptAll();
    } finally {
      timer.cancel();
    }
    if (this.#isBrokenOff()) await writeProgress();
    else await finish(this.#conclude());
  }

  async #attemptAll(): Promise<void> {
    let backoffMs = RETRY_BACKOFF_MS;
    for (;;) {
      this.#request.state = "processing";
      await this.#attempt();
      if (this.#isTimedOut || !this.#reopenForRetry()) return;
      this.#request.state = "pending";
      if (this.#isClosing) return;
      await sleep(this.#parts.clock, backoffMs, this.#stop.signal).catch(() => {});
      if (this.#stop.signal.aborted) return;
      backoffMs = Math.min(2 * backoffMs, RETRY_BACKOFF_MAX_MS);
    }
  }

  async #attempt(): Promise<void> {
    const { producers, schemas, clock } = this.#parts;
    const { topic, body, receivedAtMs, rawHeaders } = this.#produce;
    const settings = this.#settings;
    try {
      const partitionCount = await this.#partitionCount();
      const context = new ProducerContext({
        topic,
        partitionCount,
        settings,
        codecs: await schemas.codecsFor(topic, settings),
        producer: producers.forAsync(settings.acks),
        partitioner: producers.partitioner(settings.partitioner),
        clock,
        receivedAtMs,
        trace: traceOf(rawHeaders),
      });
      await context.send(body, this.#records, this.#outcomes);
    } catch (error) {
      this.#outcomes.failPending(asKafkaError(error));
      if (error instanceof RequestError) this.#request.failure = { code: error.code, message: error.message };
    }
    await this.#outcomes.settled;
  }

  /** While brokers are away, that the topic is not known is no answer yet. */
  async #partitionCount(): Promise<number> {
    const { topics } = this.#parts;
    return topics.known(this.#produce.topic) ?? (await topics.find(this.#produce.topic));
  }

  /** True if records are pending again: those that surely are not stored and may be another time. */
  #reopenForRetry(): boolean {
    let isTopicInDoubt = false;
    const reopenedCount = this.#outcomes.reopen((failure) => {
      if (!(failure instanceof KafkaError) || !failure.retriable || failure.persisted !== "no") return false;
      isTopicInDoubt ||= isUnknownTopic(failure);
      return true;
    });
    if (isTopicInDoubt) this.#parts.topics.forget(this.#produce.topic);
    return reopenedCount > 0;
  }

  #timeOut(): void {
    this.#isTimedOut = true;
    const message = `${this.#produce.topic}: not acknowledged within the time of the request`;
    this.#outcomes.failPending(new KafkaError("TIMED_OUT", message, { persisted: "maybe" }));
    this.#stop.abort();
  }

  /** The process ends before the request does: the next one goes on with what is not stored. */
  #isBrokenOff(): boolean {
    if (this.#isTimedOut || !this.#isClosing) return false;
    if (this.#outcomes.pendingCount > 0) return true;
    for (const failure of this.#outcomes.failures()) if (failure.code === "CLOSED") return true;
    return false;
  }

  #conclude(): RequestResult & { readonly state: AsyncState } {
    const request = this.#request;
    const outcomes = this.#outcomes;
    const result = resultOf(outcomes, this.#records, this.#settings.isDetailed);
    const cause = causeOf(outcomes);
    if (outcomes.storedCount === 0 && cause !== null) {
      request.failure ??= { code: cause.code, message: cause.message };
    }
    request.doneCount = outcomes.recordCount;
    request.failedCount = outcomes.failedCount;
    this.#parts.metrics.recordsAnswered(request.topic, outcomes.storedCount, outcomes.failedCount);
    return { state: this.#finalState(cause), ...result };
  }

  #finalState(cause: KafkaError | null): AsyncState {
    const { storedCount, failedCount } = this.#outcomes;
    if (this.#isTimedOut && failedCount > 0) return "timeout";
    if (storedCount === 0 && (cause !== null || this.#request.failure !== null)) return "failed";
    if (failedCount === 0 || !this.#settings.isStrict) return "completed";
    return storedCount === 0 ? "failed" : "partial";
  }
}

function asKafkaError(error: unknown): KafkaError {
  if (error instanceof KafkaError) return error;
  const message = error instanceof Error ? error.message : String(error);
  const isMissing = error instanceof RequestError && error.code === "TOPIC_NOT_FOUND";
  // Asked for and not there, or not possible: another attempt would end as this one.
  return new KafkaError(isMissing ? "UNKNOWN_TOPIC_OR_PARTITION" : "INVALID_REQUEST", message, {
    retriable: false,
    persisted: "no",
    cause: error,
  });
}

/** Puts together from both journals what there was when the last process ended. */
class Recovery {
  readonly requests = new Map<string, AsyncRequest>();
  readonly #released: { readonly journal: "accepted" | "results"; readonly place: EntryPlace }[] = [];
  readonly #progress = new Map<string, { readonly place: EntryPlace; readonly head: Entry["head"] }>();

  readResult(place: EntryPlace, { head }: Entry): void {
    const id = String(head.id);
    switch (head.type) {
      case "result":
        this.requests.set(id, readResult(place, head));
        this.#dropProgress(id);
        return;
      case "progress":
        this.#dropProgress(id);
        this.#progress.set(id, { place, head });
        return;
      default: {
        const forgotten = this.requests.get(id);
        if (forgotten !== undefined) forgotten.isForgotten = true;
        this.#released.push({ journal: "results", place });
      }
    }
  }

  readAccepted(place: EntryPlace, { head }: Entry): void {
    const id = String(head.id);
    const finished = this.requests.get(id);
    if (finished !== undefined) {
      finished.acceptedAt = place;
      this.#released.push({ journal: "accepted", place });
      return;
    }
    const topic = String(head.topic);
    const recordCount = Number(head.recordCount);
    const submittedAtMs = Number(head.receivedAtMs);
    const request = new AsyncRequest({
      id,
      ownerId: String(head.ownerId),
      topic,
      submittedAtMs,
      recordCount,
      acceptedAt: place,
    });
    const progress = this.#progress.get(id);
    if (progress !== undefined) {
      const { runs } = progress.head as unknown as RequestResult; // as we wrote it, and its CRC is right
      request.outcomes = restoreOutcomes(topic, recordCount, runs);
      request.resultAt = progress.place;
    }
    this.requests.set(id, request);
  }

  release(accepted: RequestJournal, results: RequestJournal): void {
    for (const { journal, place } of this.#released) (journal === "accepted" ? accepted : results).release(place);
  }

  #dropProgress(id: string): void {
    const before = this.#progress.get(id);
    if (before === undefined) return;
    this.#progress.delete(id);
    this.#released.push({ journal: "results", place: before.place });
  }
}

function readResult(place: EntryPlace, head: Entry["head"]): AsyncRequest {
  const request = new AsyncRequest({
    id: String(head.id),
    ownerId: String(head.ownerId),
    topic: String(head.topic),
    submittedAtMs: Number(head.submittedAtMs),
    recordCount: Number(head.recordCount),
    acceptedAt: null,
  });
  request.state = head.state as AsyncState; // as we wrote it, and its CRC is right
  request.updatedAtMs = Number(head.updatedAtMs);
  request.doneCount = Number(head.doneCount);
  request.failedCount = Number(head.failedCount);
  request.failure = head.failure as AsyncRequest["failure"]; // likewise
  request.resultAt = place;
  return request;
}
