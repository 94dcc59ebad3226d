/**
 * Fetch: record batches from an offset on, as they lie in the log; waits until there are enough.
 *
 * v4–17. Fetch sessions are refused by answering session 0, which clients take as an invitation to send whole requests.
 * From v13 on topics go by their ids. There are no transactions yet: the last stable offset is the high watermark.
 */

import { fetchApi, KafkaError } from "@millrace/protocol";
import type { FetchMemory } from "../fetch-memory.ts";
import {
  defineHandler,
  errorNumberOf,
  NO_ERROR,
  type RequestContext,
  type RequestOf,
  type ResponseOf,
  selectPartitions,
} from "../handler.ts";
import type { PartitionLog } from "../log/partition-log.ts";
import type { Topic } from "../topics/topic.ts";
import { checkLeaderEpoch } from "./leader-epoch.ts";

type FetchRequest = RequestOf<typeof fetchApi>;
type TopicRequest = FetchRequest["topics"][number];
type PartitionRequest = TopicRequest["partitions"][number];
type TopicResponse = ResponseOf<typeof fetchApi>["responses"][number];
type PartitionResponse = TopicResponse["partitions"][number];

const TOPIC_IDS_SINCE_VERSION = 13;
const READ_COMMITTED = 1;

/** What one pass over all partitions found. */
interface Pass {
  readonly responses: TopicResponse[];
  /** Partitions that were read, and up to where they could be. */
  readonly read: { readonly topic: Topic; readonly log: PartitionLog; readonly highWatermark: bigint }[];
  /** Taken from the fetch memory. */
  sizeBytes: number;
  /** Of the memory in which the records lie, once they have left. */
  readonly releases: (() => void)[];
  hasError: boolean;
  /** Nothing was read, because other answers take all the memory that there is for them. */
  readonly isStarved: boolean;
}

export const fetchHandler = defineHandler({
  api: fetchApi,
  versions: [4, 17],

  async handle(request, context) {
    if (request.sessionId !== 0) {
      throw new KafkaError("FETCH_SESSION_ID_NOT_FOUND", `there is no fetch session ${request.sessionId}`);
    }
    let pass = await readAll(request, context);
    if (isEnough(pass, request)) return answer(pass, context);
    const wait = new FetchWait(request.maxWaitMs, context);
    try {
      while (!isEnough(pass, request) && !wait.isOver) {
        context.broker.fetchMemory.give(pass.sizeBytes);
        release(pass);
        await wait.forMore(pass);
        pass = await readAll(request, context);
      }
      return answer(pass, context);
    } finally {
      wait.end();
    }
  },

  errorResponse: (request, errorCode) => ({
    errorCode,
    // Before v7 there is no place for an error of the whole request.
    responses: request.topics.map(({ topic, topicId, partitions }) => ({
      topic,
      topicId,
      partitions: partitions.map(({ partition }) => failed(partition, errorCode)),
    })),
  }),

  parted: {
    namesPartitions: true,
    select(request, keep, { broker }) {
      const topics = selectPartitions(
        request.topics,
        {
          name: ({ topic, topicId }) => (topic === "" ? (broker.topics.getById(topicId)?.name ?? "") : topic),
          partitions: ({ partitions }) => partitions,
          index: ({ partition }) => partition,
          withPartitions: (topic, partitions) => ({ ...topic, partitions }),
        },
        keep,
      );
      return topics === null ? null : { ...request, topics };
    },
    join: (first, second) => ({ ...first, responses: [...first.responses, ...second.responses] }),
  },
});

function answer(pass: Pass, { quota, broker, onSent }: RequestContext) {
  const { responses, sizeBytes } = pass;
  onSent((hasLeft) => {
    broker.fetchMemory.give(sizeBytes);
    if (hasLeft) release(pass);
  });
  return { responses, throttleTimeMs: quota.charge("consumer_byte_rate", sizeBytes) };
}

/** Lets the memory be used again: nobody may look at the pass's records any more. */
function release({ releases }: Pass): void {
  for (const release of releases) release();
}

function isEnough(pass: Pass, request: FetchRequest): boolean {
  return pass.hasError || pass.sizeBytes >= request.minBytes || request.maxWaitMs <= 0;
}

async function readAll(request: FetchRequest, context: RequestContext): Promise<Pass> {
  const { broker, quota } = context;
  const { fetchMemory } = broker;
  const wantedBytes = Math.min(
    request.maxBytes,
    broker.options.fetchMaxBytes,
    quota.answerLimitBytes("consumer_byte_rate"),
  );
  const maxBytes = fetchMemory.take(wantedBytes);
  const pass: Pass = {
    responses: [],
    read: [],
    sizeBytes: 0,
    releases: [],
    hasError: false,
    isStarved: maxBytes === 0 && wantedBytes > 0,
  };
  try {
    for (const asked of request.topics) {
      const partitions: PartitionResponse[] = [];
      for (const partition of asked.partitions) {
        const restBytes = Math.max(0, maxBytes - pass.sizeBytes);
        partitions.push(await readPartition(asked, partition, restBytes, request, context, pass));
      }
      pass.responses.push({ topic: asked.topic, topicId: asked.topicId, partitions });
    }
    return pass;
  } finally {
    fetchMemory.give(maxBytes - pass.sizeBytes);
  }
}

async function readPartition(
  asked: TopicRequest,
  { partition, currentLeaderEpoch, fetchOffset, lastFetchedEpoch, partitionMaxBytes }: PartitionRequest,
  restBytes: number,
  request: FetchRequest,
  context: RequestContext,
  pass: Pass,
): Promise<PartitionResponse> {
  try {
    const topic = findTopic(asked, context);
    const log = topic.partition(partition);
    checkLeaderEpoch(currentLeaderEpoch, log);
    const { highWatermark } = log;
    pass.read.push({ topic, log, highWatermark });
    const found = {
      partitionIndex: partition,
      errorCode: NO_ERROR,
      highWatermark,
      lastStableOffset: highWatermark,
      logStartOffset: log.logStartOffset,
      abortedTransactions: request.isolationLevel === READ_COMMITTED ? [] : null,
    };
    const divergingEpoch = divergence(log, fetchOffset, lastFetchedEpoch);
    if (divergingEpoch !== null) {
      pass.hasError = true;
      return { ...found, divergingEpoch, records: [] };
    }
    // The first batch that there is goes out whole, however large: a consumer would never get past it otherwise (KIP-74).
    const minOneBatch = pass.sizeBytes === 0 && !pass.isStarved;
    const records = await log.read(fetchOffset, Math.min(partitionMaxBytes, restBytes), {
      minOneBatch,
      onRelease: (release) => pass.releases.push(release),
    });
    for (const { length } of records) pass.sizeBytes += length;
    return { ...found, records };
  } catch (error) {
    pass.hasError = true;
    const name = asked.topic === "" ? asked.topicId : asked.topic;
    return failed(partition, errorNumberOf(error, `fetch of ${name}-${partition}`, context.broker.logger));
  }
}

function findTopic({ topic: name, topicId }: TopicRequest, { version, access, broker }: RequestContext): Topic {
  if (version >= TOPIC_IDS_SINCE_VERSION) {
    const topic = broker.topics.expectById(topicId);
    access.expect("READ", "TOPIC", topic.name);
    return topic;
  }
  access.expect("READ", "TOPIC", name);
  return broker.topics.expect(name);
}

/** Where the reader's past and ours part, if they do: it read records that a crash took back (KIP-595). */
function divergence(log: PartitionLog, fetchOffset: bigint, lastFetchedEpoch: number) {
  if (lastFetchedEpoch < 0) return null;
  const { leaderEpoch, endOffset } = log.epochEndOffset(lastFetchedEpoch);
  return leaderEpoch < lastFetchedEpoch || endOffset < fetchOffset ? { epoch: leaderEpoch, endOffset } : null;
}

function failed(partitionIndex: number, errorCode: number): PartitionResponse {
  return { partitionIndex, errorCode, highWatermark: -1n, abortedTransactions: null, records: [] };
}

/** The wait of one fetch that found too little: until more can be read, its time is up, or it is told to hurry. */
class FetchWait {
  #isOver = false;
  #wake: (() => void) | null = null;
  readonly #cleanups: (() => void)[] = [];
  readonly #fetchMemory: FetchMemory;

  constructor(maxWaitMs: number, context: RequestContext) {
    const timer = context.broker.clock.schedule(maxWaitMs, () => this.#finish(), { background: true });
    this.#fetchMemory = context.broker.fetchMemory;
    this.#cleanups.push(() => timer.cancel());
    this.#cleanups.push(context.onHurry(() => this.#finish()));
  }

  get isOver(): boolean {
    return this.#isOver;
  }

  /** Resolves once any of these partitions has more than the pass saw, there is memory to read it into, or the wait is over. */
  async forMore(pass: Pass): Promise<void> {
    const hasMore = () =>
      pass.read.some(({ topic, log, highWatermark }) => topic.isDeleted || log.highWatermark > highWatermark);
    if (this.#isOver || hasMore()) return;
    const unsubscribes: (() => void)[] = [];
    await new Promise<void>((resolve) => {
      this.#wake = resolve;
      if (pass.isStarved) unsubscribes.push(this.#fetchMemory.onRoom(resolve));
      for (const { topic, log } of pass.read) {
        unsubscribes.push(log.onFlushed(resolve), topic.onDelete(resolve));
      }
    });
    this.#wake = null;
    for (const unsubscribe of unsubscribes) unsubscribe();
  }

  end(): void {
    for (const cleanup of this.#cleanups.splice(0)) cleanup();
  }

  #finish(): void {
    this.#isOver = true;
    this.#wake?.();
  }
}
