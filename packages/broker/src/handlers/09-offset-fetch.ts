/**
 * OffsetFetch: how far groups have read.
 *
 * v1–9; from v8 on for several groups at once. No topics: all that were committed. What was never committed is -1,
 * without an error.
 */

import { offsetFetchApi } from "@millrace/protocol";
import type { CommittedOffset } from "../group-log.ts";
import { defineHandler, NO_ERROR, type RequestContext, type RequestOf } from "../handler.ts";

type AskedTopics = RequestOf<typeof offsetFetchApi>["topics"];

const MANY_GROUPS_SINCE_VERSION = 8;

export const offsetFetchHandler = defineHandler({
  api: offsetFetchApi,
  versions: [1, 9],

  handle(request, context) {
    if (context.version < MANY_GROUPS_SINCE_VERSION) {
      return { errorCode: NO_ERROR, topics: find(request.groupId, request.topics, context) };
    }
    return {
      groups: request.groups.map(({ groupId, topics }) => ({
        groupId,
        topics: find(groupId, topics, context),
        errorCode: NO_ERROR,
      })),
    };
  },

  errorResponse: (request, errorCode) => ({
    errorCode,
    groups: request.groups.map(({ groupId }) => ({ groupId, topics: [], errorCode })),
  }),
});

function find(groupId: string, asked: AskedTopics, { broker }: RequestContext) {
  const offsets = broker.groups.offsets(groupId);
  if (asked === null) {
    return [...offsets].map(([name, partitions]) => ({
      name,
      partitions: [...partitions].map(([partitionIndex, committed]) => describe(partitionIndex, committed)),
    }));
  }
  return asked.map(({ name, partitionIndexes }) => ({
    name,
    partitions: partitionIndexes.map((index) => describe(index, offsets.get(name)?.get(index))),
  }));
}

function describe(partitionIndex: number, committed: CommittedOffset | undefined) {
  return {
    partitionIndex,
    committedOffset: committed?.offset ?? -1n,
    committedLeaderEpoch: committed?.leaderEpoch ?? -1,
    metadata: committed?.metadata ?? "",
    errorCode: NO_ERROR,
  };
}
