/**
 * CreateTopics: new topics, each with its own result.
 *
 * v0–7. -1 partitions or replicas: the default. More replicas than one are clamped to one, with a warning, or refused,
 * as replicationFactorPolicy says. Answered once the topics would outlive a crash.
 */

import { createTopicsApi, KafkaError } from "@millrace/protocol";
import { topicConfigEntries } from "../config-entries.ts";
import { OFFSETS_TOPIC } from "../groups/group-log.ts";
import {
  defineHandler,
  errorMessageOf,
  errorNumber,
  errorNumberOf,
  NO_ERROR,
  type RequestContext,
  type RequestOf,
} from "../handler.ts";
import { CLUSTER_NAME } from "../security/acl.ts";
import type { NewTopic } from "../topics/topic-manager.ts";
import { checkTopicConfig } from "../topics/topic-settings.ts";

type AskedTopic = RequestOf<typeof createTopicsApi>["topics"][number];

export const createTopicsHandler = defineHandler({
  api: createTopicsApi,
  versions: [0, 7],

  async handle(request, context) {
    const seenCount = new Map<string, number>();
    for (const { name } of request.topics) seenCount.set(name, (seenCount.get(name) ?? 0) + 1);
    // One answer for each name, as from Kafka: librdkafka takes a second one for a broken response.
    const byName = new Map(request.topics.map((asked) => [asked.name, asked]));
    // All at once: topics that are created together share the writes that make them last.
    const topics = await Promise.all(
      [...byName.values()].map((asked) =>
        create(asked, (seenCount.get(asked.name) ?? 0) > 1, request.validateOnly, context),
      ),
    );
    return { topics };
  },

  errorResponse: (request, errorCode) => ({
    topics: request.topics.map(({ name }) => ({ name, errorCode })),
  }),

  parted: {
    namesPartitions: false,
    select(request, keep) {
      const topics = request.topics.filter(({ name }) => keep(name, null));
      return topics.length === 0 ? null : { ...request, topics };
    },
    join: (first, second) => ({ ...first, topics: [...first.topics, ...second.topics] }),
  },
});

/** Of a topic whose settings the client may not see, although it made it. */
const HIDDEN = { topicConfigErrorCode: errorNumber("TOPIC_AUTHORIZATION_FAILED"), configs: [] };

async function create(asked: AskedTopic, isRepeated: boolean, validateOnly: boolean, context: RequestContext) {
  const { access, broker } = context;
  const { topics, logger, options } = broker;
  const { name } = asked;
  try {
    if (!access.allows("CREATE", "CLUSTER", CLUSTER_NAME)) access.expect("CREATE", "TOPIC", name);
    if (isRepeated) throw new KafkaError("INVALID_REQUEST", `topic ${name} is asked for twice`);
    if (name === OFFSETS_TOPIC && topics.get(name) === undefined) {
      throw new KafkaError(
        "INVALID_TOPIC_EXCEPTION",
        `topic ${name} is the broker's own; it comes with the first group`,
      );
    }
    const newTopic: NewTopic = {
      name,
      partitions: partitionsOf(asked, context),
      config: checkTopicConfig(asked.configs.map((config) => [config.name, config.value])),
    };
    checkReplicas(asked, context);
    if (validateOnly) topics.check(newTopic);
    const topicId = validateOnly ? {} : { topicId: (await topics.create(newTopic)).topicId };
    if (!access.allows("DESCRIBE_CONFIGS", "TOPIC", name)) return { name, ...topicId, errorCode: NO_ERROR, ...HIDDEN };
    return {
      name,
      ...topicId,
      errorCode: NO_ERROR,
      numPartitions: newTopic.partitions,
      replicationFactor: 1,
      configs: topicConfigEntries(newTopic.config, options).map((entry) => ({
        name: entry.name,
        value: entry.synonyms[0].value,
        readOnly: false,
        configSource: entry.synonyms[0].source,
        isSensitive: false,
      })),
    };
  } catch (error) {
    const errorCode = errorNumberOf(error, `create topic ${name}`, logger);
    return { name, errorCode, errorMessage: errorMessageOf(error) };
  }
}

function partitionsOf({ name, numPartitions, replicationFactor, assignments }: AskedTopic, context: RequestContext) {
  if (assignments.length === 0) return numPartitions === -1 ? context.broker.options.defaultPartitions : numPartitions;
  if (numPartitions !== -1 || replicationFactor !== -1) {
    throw new KafkaError("INVALID_REQUEST", `topic ${name} has both an assignment and a number of partitions`);
  }
  const indexes = new Set(assignments.map(({ partitionIndex }) => partitionIndex));
  const isComplete = assignments.every((_, index) => indexes.has(index));
  if (!isComplete || indexes.size !== assignments.length) {
    throw new KafkaError(
      "INVALID_REPLICA_ASSIGNMENT",
      `topic ${name}: partitions must be assigned once each, from 0 to ${assignments.length - 1}`,
    );
  }
  return assignments.length;
}

/** Applications and test suites ask for three replicas; one broker has one to give. */
function checkReplicas(
  { name, replicationFactor, assignments }: AskedTopic,
  { broker, clientId }: RequestContext,
): void {
  const { nodeId, replicationFactorPolicy } = broker.options;
  const assigned = assignments.map(({ brokerIds }) => brokerIds);
  if (assigned.some((brokerIds) => brokerIds.length === 0)) {
    throw new KafkaError("INVALID_REPLICA_ASSIGNMENT", `topic ${name}: a partition is assigned to no broker`);
  }
  if (assignments.length === 0 && (replicationFactor === 0 || replicationFactor < -1)) {
    throw new KafkaError("INVALID_REPLICATION_FACTOR", `topic ${name}: replication factor ${replicationFactor}`);
  }
  const isOneHere = assigned.every((brokerIds) => brokerIds.length === 1 && brokerIds[0] === nodeId);
  if (replicationFactor <= 1 && isOneHere) return;
  if (replicationFactorPolicy === "clamp") {
    broker.logger.warn(
      { topic: name, replicationFactor, clientId },
      "one broker keeps one replica, whatever was asked",
    );
  } else if (assignments.length > 0) {
    throw new KafkaError("INVALID_REPLICA_ASSIGNMENT", `topic ${name}: the only broker is ${nodeId}`);
  } else {
    throw new KafkaError("INVALID_REPLICATION_FACTOR", `topic ${name}: ${replicationFactor} replicas on one broker`);
  }
}
