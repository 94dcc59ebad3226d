/** DeleteTopics: topics gone for good, by name or, from v6 on, by id. v0–6. */

import { deleteTopicsApi, KafkaError, NIL_UUID } from "@millrace/protocol";
import {
  defineHandler,
  errorMessageOf,
  errorNumberOf,
  NO_ERROR,
  type RequestContext,
  type RequestOf,
} from "../handler.ts";

type DeleteTopicsRequest = RequestOf<typeof deleteTopicsApi>;
/** Before v6 the id is nil; from then on the name may be null. */
type AskedTopic = DeleteTopicsRequest["topics"][number];

export const deleteTopicsHandler = defineHandler({
  api: deleteTopicsApi,
  versions: [0, 6],

  async handle(request, context) {
    return { responses: await Promise.all(askedTopics(request).map((asked) => remove(asked, context))) };
  },

  errorResponse: (request, errorCode) => ({
    responses: askedTopics(request).map(({ name, topicId }) => ({ name, topicId, errorCode })),
  }),

  parted: {
    namesPartitions: false,
    select(request, keep, { broker }) {
      const nameOf = ({ name, topicId }: AskedTopic) => name ?? broker.topics.getById(topicId)?.name ?? "";
      const topics = request.topics.filter((asked) => keep(nameOf(asked), null));
      const topicNames = request.topicNames.filter((name) => keep(name, null));
      return topics.length + topicNames.length === 0 ? null : { ...request, topics, topicNames };
    },
    join: (first, second) => ({ ...first, responses: [...first.responses, ...second.responses] }),
  },
});

function askedTopics({ topics, topicNames }: DeleteTopicsRequest): readonly AskedTopic[] {
  return topics.length > 0 ? topics : topicNames.map((name) => ({ name, topicId: NIL_UUID }));
}

async function remove({ name, topicId }: AskedTopic, { access, broker }: RequestContext) {
  const topic = name === null ? broker.topics.getById(topicId) : broker.topics.get(name);
  try {
    const askedName = name ?? topic?.name;
    if (askedName !== undefined) access.expect("DELETE", "TOPIC", askedName);
    if (!broker.options.deleteTopics) throw new KafkaError("TOPIC_DELETION_DISABLED", "topics may not be deleted here");
    if (topic === undefined) {
      throw name === null
        ? new KafkaError("UNKNOWN_TOPIC_ID", `there is no topic with id ${topicId}`)
        : new KafkaError("UNKNOWN_TOPIC_OR_PARTITION", `there is no topic ${name}`);
    }
    if (topic.isInternal) throw new KafkaError("INVALID_TOPIC_EXCEPTION", `topic ${topic.name} is the broker's own`);
    await broker.topics.delete(topic.name);
    await broker.groups.forgetTopic(topic.name);
    return { name: topic.name, topicId: topic.topicId, errorCode: NO_ERROR };
  } catch (error) {
    const errorCode = errorNumberOf(error, `delete topic ${name ?? topicId}`, broker.logger);
    return { name, topicId, errorCode, errorMessage: errorMessageOf(error) };
  }
}
