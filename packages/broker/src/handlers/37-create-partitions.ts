/** CreatePartitions: gives topics more partitions; records stay where they are. v0–3. */

import { createPartitionsApi, KafkaError } from "@millrace/protocol";
import {
  defineHandler,
  errorMessageOf,
  errorNumberOf,
  NO_ERROR,
  type RequestContext,
  type RequestOf,
} from "../handler.ts";

type AskedTopic = RequestOf<typeof createPartitionsApi>["topics"][number];

export const createPartitionsHandler = defineHandler({
  api: createPartitionsApi,
  versions: [0, 3],

  async handle({ topics, validateOnly }, context) {
    return { results: await Promise.all(topics.map((asked) => grow(asked, validateOnly, context))) };
  },

  errorResponse: ({ topics }, errorCode) => ({ results: topics.map(({ name }) => ({ name, errorCode })) }),
});

async function grow(
  { name, count, assignments }: AskedTopic,
  validateOnly: boolean,
  { access, broker }: RequestContext,
) {
  try {
    access.expect("ALTER", "TOPIC", name);
    const topic = broker.topics.expect(name);
    if (topic.isInternal) throw new KafkaError("INVALID_TOPIC_EXCEPTION", `topic ${name} is the broker's own`);
    const addedCount = count - topic.partitions.length;
    if (assignments !== null && assignments.length !== addedCount) {
      throw new KafkaError(
        "INVALID_REPLICA_ASSIGNMENT",
        `${name}: ${assignments.length} assignments for ${addedCount} new partitions`,
      );
    }
    if (!validateOnly) await broker.topics.addPartitions(name, count);
    else broker.topics.checkPartitions(name, count);
    return { name, errorCode: NO_ERROR };
  } catch (error) {
    const errorCode = errorNumberOf(error, `add partitions to ${name}`, broker.logger);
    return { name, errorCode, errorMessage: errorMessageOf(error) };
  }
}
