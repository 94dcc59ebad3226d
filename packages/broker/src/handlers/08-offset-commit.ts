/**
 * OffsetCommit: how far a group has read, answered once it is on disk.
 *
 * v2–9. Offsets are kept as long as offsetsRetentionMs says, whatever v2–4 ask for.
 */

import { offsetCommitApi } from "@millrace/protocol";
import type { PartitionCommit } from "../groups/group-coordinator.ts";
import {
  defineHandler,
  errorNumber,
  NO_ERROR,
  type RequestContext,
  type RequestOf,
  type ResponseOf,
} from "../handler.ts";
import { failedByTopic, partedByTopic } from "./partitions-by-topic.ts";

export const offsetCommitHandler = defineHandler({
  api: offsetCommitApi,
  versions: [2, 9],

  async handle(request, context) {
    context.access.expect("READ", "GROUP", request.groupId);
    const commits: PartitionCommit[] = [];
    const topics = request.topics.map(({ name, partitions }) => ({
      name,
      partitions: partitions.map((asked) => {
        const commit: PartitionCommit = {
          topic: name,
          partition: asked.partitionIndex,
          offset: asked.committedOffset,
          leaderEpoch: asked.committedLeaderEpoch,
          metadata: asked.committedMetadata ?? "",
        };
        const errorCode = check(commit, context);
        if (errorCode === NO_ERROR) commits.push(commit);
        return { partitionIndex: asked.partitionIndex, errorCode };
      }),
    }));
    const { groupId, memberId, groupInstanceId, generationIdOrMemberEpoch: generationId } = request;
    await context.broker.groups.commit(groupId, { memberId, groupInstanceId, generationId }, commits);
    return { topics };
  },

  errorResponse: ({ topics }, errorCode) => ({ topics: failedByTopic(topics, errorCode) }),
  parted: partedByTopic<RequestOf<typeof offsetCommitApi>, ResponseOf<typeof offsetCommitApi>>(),
});

function check({ topic, partition, metadata }: PartitionCommit, { access, broker }: RequestContext): number {
  if (!access.allows("READ", "TOPIC", topic)) return errorNumber("TOPIC_AUTHORIZATION_FAILED");
  if (broker.topics.get(topic)?.partitions[partition] === undefined) return errorNumber("UNKNOWN_TOPIC_OR_PARTITION");
  if (Buffer.byteLength(metadata) > broker.options.offsetMetadataMaxBytes) {
    return errorNumber("OFFSET_METADATA_TOO_LARGE");
  }
  return NO_ERROR;
}
