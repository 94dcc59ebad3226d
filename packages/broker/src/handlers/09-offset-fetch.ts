/**
 * OffsetFetch: how far groups have read.
 *
 * v1–9; from v8 on for several groups at once. No topics: all that were committed. What was never committed is -1,
 * without an error.
 */

import { offsetFetchApi } from "@millrace/protocol";
import type { CommittedOffset } from "../groups/group-log.ts";
import { defineHandler, errorNumber, NO_ERROR, type RequestContext, type RequestOf } from "../handler.ts";

type AskedTopics = RequestOf<typeof offsetFetchApi>["topics"];

/** Before it there is no place for an error of the whole request. */
const REQUEST_ERROR_SINCE_VERSION = 2;
const MANY_GROUPS_SINCE_VERSION = 8;

export const offsetFetchHandler = defineHandler({
  api: offsetFetchApi,
  versions: [1, 9],

  handle(request, context) {
    if (context.version < MANY_GROUPS_SINCE_VERSION) {
      context.access.expect("DESCRIBE", "GROUP", request.groupId);
      return { errorCode: NO_ERROR, topics: find(request.groupId, request.topics, context) };
    }
    return {
      groups: request.groups.map(({ groupId, topics }) =>
        context.access.allows("DESCRIBE", "GROUP", groupId)
          ? { groupId, topics: find(groupId, topics, context), errorCode: NO_ERROR }
          : { groupId, topics: [], errorCode: errorNumber("GROUP_AUTHORIZATION_FAILED") },
      ),
    };
  },

  errorResponse: (request, errorCode, { version }) => ({
    errorCode,
    topics: version < REQUEST_ERROR_SINCE_VERSION ? failAll(request.topics ?? [], errorCode) : [],
    groups: request.groups.map(({ groupId }) => ({ groupId, topics: [], errorCode })),
  }),
});

function find(groupId: string, asked: AskedTopics, { access, broker }: RequestContext) {
  const offsets = broker.groups.offsets(groupId);
  const isOpen = (name: string) => access.allows("DESCRIBE", "TOPIC", name);
  if (asked === null) {
    return [...offsets]
      .filter(([name]) => isOpen(name))
      .map(([name, partitions]) => ({
        name,
        partitions: [...partitions].map(([partitionIndex, committed]) => describe(partitionIndex, committed)),
      }));
  }
  return asked.map(({ name, partitionIndexes }) => ({
    name,
    partitions: partitionIndexes.map((index) =>
      isOpen(name)
        ? describe(index, offsets.get(name)?.get(index))
        : failed(index, errorNumber("TOPIC_AUTHORIZATION_FAILED")),
    ),
  }));
}

function failAll(asked: NonNullable<AskedTopics>, errorCode: number) {
  return asked.map(({ name, partitionIndexes }) => ({
    name,
    partitions: partitionIndexes.map((index) => failed(index, errorCode)),
  }));
}

function failed(partitionIndex: number, errorCode: number) {
  return { ...describe(partitionIndex, undefined), errorCode };
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
