/**
 * Metadata: the broker, its topics, and that it leads all their partitions.
 *
 * v0–12. An empty list asks for all topics in v0 and for none later, where null asks for all. Unknown topics are
 * created where the broker and the client allow it; v0–3 always do. From v12 on topics may be asked for by id. A topic
 * that the client may not describe is left out of all, and refused by name before it is looked for.
 */

import { KafkaError, metadataApi, NIL_UUID } from "@millrace/protocol";
import { OFFSETS_TOPIC } from "../groups/group-log.ts";
import { defineHandler, errorNumberOf, NO_ERROR, type RequestContext, type RequestOf } from "../handler.ts";
import { CLUSTER_NAME } from "../security/acl.ts";
import type { Topic } from "../topics/topic.ts";
import { checkTopicName } from "../topics/topic-names.ts";
import { clusterOperations, topicOperations } from "./authorized-operations.ts";

type MetadataRequest = RequestOf<typeof metadataApi>;
type AskedTopic = NonNullable<MetadataRequest["topics"]>[number];

export const metadataHandler = defineHandler({
  api: metadataApi,
  versions: [0, 12],

  async handle(request, context) {
    const { topics } = context.broker;
    const asksForAll = request.topics === null || (context.version === 0 && request.topics.length === 0);
    const described = asksForAll
      ? topics
          .list()
          .filter(({ name }) => context.access.allows("DESCRIBE", "TOPIC", name))
          .map((topic) => describe(topic, request, context))
      : await Promise.all((request.topics ?? []).map((asked) => find(asked, request, context)));
    return {
      ...describeBroker(context),
      topics: described,
      clusterAuthorizedOperations: clusterOperations(request.includeClusterAuthorizedOperations, context),
    };
  },

  errorResponse: (request, errorCode, context) => ({
    ...describeBroker(context),
    topics: (request.topics ?? []).map((asked) => failed(asked, errorCode)),
  }),

  parted: {
    namesPartitions: false,
    select(request, keep, { broker }) {
      const nameOf = ({ name, topicId }: AskedTopic) => name ?? broker.topics.getById(topicId)?.name ?? "";
      const topics = (request.topics ?? []).filter((asked) => keep(nameOf(asked), null));
      return topics.length === 0 ? null : { ...request, topics };
    },
    join: (first, second) => ({ ...first, topics: [...first.topics, ...second.topics] }),
  },
});

function describeBroker({ broker, advertised }: RequestContext) {
  const { nodeId } = broker.options;
  const { host, port } = advertised;
  // The controller must be one of the brokers: kafkajs fails on a controller that it cannot find among them.
  return { brokers: [{ nodeId, host, port }], clusterId: broker.clusterId, controllerId: nodeId };
}

async function find(asked: AskedTopic, request: MetadataRequest, context: RequestContext) {
  const { access, broker } = context;
  try {
    if (asked.name === null) {
      const topic = broker.topics.expectById(asked.topicId);
      access.expect("DESCRIBE", "TOPIC", topic.name);
      return describe(topic, request, context);
    }
    access.expect("DESCRIBE", "TOPIC", asked.name);
    const topic = broker.topics.get(asked.name);
    if (topic !== undefined) return describe(topic, request, context);
    checkTopicName(asked.name);
    if (!request.allowAutoTopicCreation || !broker.options.autoCreateTopics) {
      throw new KafkaError("UNKNOWN_TOPIC_OR_PARTITION", `there is no topic ${asked.name}`);
    }
    if (!access.allows("CREATE", "CLUSTER", CLUSTER_NAME)) access.expect("CREATE", "TOPIC", asked.name);
    return describe(await create(asked.name, context), request, context);
  } catch (error) {
    return failed(asked, errorNumberOf(error, `metadata of ${asked.name ?? asked.topicId}`, broker.logger));
  }
}

/** Made before the answer, so that the client needs not ask again: many a client takes "not yet" badly. */
async function create(name: string, { broker }: RequestContext): Promise<Topic> {
  if (name === OFFSETS_TOPIC) await broker.groups.prepare();
  return broker.topics.getOrCreate({ name, partitions: broker.options.defaultPartitions, config: {} });
}

function describe(topic: Topic, { includeTopicAuthorizedOperations }: MetadataRequest, context: RequestContext) {
  const { nodeId } = context.broker.options;
  return {
    errorCode: NO_ERROR,
    name: topic.name,
    topicId: topic.topicId,
    isInternal: topic.isInternal,
    partitions: topic.partitions.map((log, partitionIndex) => ({
      errorCode: NO_ERROR,
      partitionIndex,
      leaderId: nodeId,
      leaderEpoch: log.leaderEpoch,
      replicaNodes: [nodeId],
      isrNodes: [nodeId],
    })),
    topicAuthorizedOperations: topicOperations(includeTopicAuthorizedOperations, topic.name, context),
  };
}

function failed({ name, topicId }: AskedTopic, errorCode: number) {
  return { errorCode, name, topicId: name === null ? topicId : NIL_UUID, partitions: [] };
}
