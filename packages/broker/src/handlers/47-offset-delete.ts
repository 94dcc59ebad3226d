/** OffsetDelete: forgets how far a group has read partitions that none of its members reads now. v0. */

import { offsetDeleteApi } from "@millrace/protocol";
import { defineHandler, errorNumber, NO_ERROR } from "../handler.ts";
import type { Access } from "../security/access.ts";

export const offsetDeleteHandler = defineHandler({
  api: offsetDeleteApi,
  versions: [0, 0],

  async handle({ groupId, topics: asked }, { access, broker }) {
    access.expect("DELETE", "GROUP", groupId);
    const refusals = new Map(
      asked.map(({ name }) => [name, refusalOf(name, broker.groups.isSubscribed(groupId, name), access)]),
    );
    const forgettable = asked.filter(({ name }) => refusals.get(name) === NO_ERROR);
    await broker.groups.deleteOffsets(
      groupId,
      forgettable.flatMap(({ name, partitions }) =>
        partitions.map(({ partitionIndex }) => ({ topic: name, partition: partitionIndex })),
      ),
    );
    const topics = asked.map(({ name, partitions }) => ({
      name,
      partitions: partitions.map(({ partitionIndex }) => ({
        partitionIndex,
        errorCode: refusals.get(name) ?? NO_ERROR,
      })),
    }));
    return { errorCode: NO_ERROR, topics };
  },

  errorResponse: (_request, errorCode) => ({ errorCode, topics: [] }),
});

function refusalOf(topic: string, isSubscribed: boolean, access: Access): number {
  if (!access.allows("READ", "TOPIC", topic)) return errorNumber("TOPIC_AUTHORIZATION_FAILED");
  return isSubscribed ? errorNumber("GROUP_SUBSCRIBED_TO_TOPIC") : NO_ERROR;
}
