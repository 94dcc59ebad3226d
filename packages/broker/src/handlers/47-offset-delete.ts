/** OffsetDelete: forgets how far a group has read partitions that none of its members reads now. v0. */

import { offsetDeleteApi } from "@millrace/protocol";
import { defineHandler, errorNumber, NO_ERROR } from "../handler.ts";

export const offsetDeleteHandler = defineHandler({
  api: offsetDeleteApi,
  versions: [0, 0],

  async handle({ groupId, topics: asked }, { broker }) {
    const subscribed = broker.groups.subscribedTopics(groupId);
    const forgettable = asked.filter(({ name }) => !subscribed.has(name));
    await broker.groups.deleteOffsets(
      groupId,
      forgettable.flatMap(({ name, partitions }) =>
        partitions.map(({ partitionIndex }) => ({ topic: name, partition: partitionIndex })),
      ),
    );
    const refused = errorNumber("GROUP_SUBSCRIBED_TO_TOPIC");
    const topics = asked.map(({ name, partitions }) => ({
      name,
      partitions: partitions.map(({ partitionIndex }) => ({
        partitionIndex,
        errorCode: subscribed.has(name) ? refused : NO_ERROR,
      })),
    }));
    return { errorCode: NO_ERROR, topics };
  },

  errorResponse: (_request, errorCode) => ({ errorCode, topics: [] }),
});
