/** What consumers of a group tell each other through JoinGroup and SyncGroup; the broker passes it on unread. */

import { array, bytes, defineMessage, int32, string, struct } from "../../schema.ts";

/** Which topics a member wants to read, and what it holds now. */
export const consumerProtocolSubscription = defineMessage(
  "ConsumerProtocolSubscription",
  {
    topics: array(string()),
    userData: bytes().nullable().default(null),
    ownedPartitions: array(struct({ topic: string(), partitions: array(int32()) }))
      .since(1)
      .default([]),
    generationId: int32().since(2).default(-1),
    rackId: string().since(3).nullable().default(null),
  },
  { min: 0, max: 3 },
  Number.POSITIVE_INFINITY,
);

/** Which partitions a member is to read. */
export const consumerProtocolAssignment = defineMessage(
  "ConsumerProtocolAssignment",
  {
    assignedPartitions: array(struct({ topic: string(), partitions: array(int32()) })),
    userData: bytes().nullable().default(null),
  },
  { min: 0, max: 3 },
  Number.POSITIVE_INFINITY,
);
