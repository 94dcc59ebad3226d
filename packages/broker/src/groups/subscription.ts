/** What consumers tell each other in a group's metadata, as far as the broker looks into it. */

import { consumerProtocolSubscription, decodeForwardCompatible } from "@millrace/protocol";

/** Of groups whose members are consumers of topics; Kafka Connect's and others' have types of their own. */
export const CONSUMER_PROTOCOL_TYPE = "consumer";

/** The topics that a consumer subscribes to; null if the bytes do not say. */
export function topicsOfSubscription(metadata: Buffer): readonly string[] | null {
  try {
    return decodeForwardCompatible(consumerProtocolSubscription, metadata).topics;
  } catch {
    return null;
  }
}

/** Whether a consumer subscribes to the same topics. What else is in there, as what it owned when, differs at every join. */
export function isSameSubscription(before: Buffer, after: Buffer): boolean {
  const topicsBefore = topicsOfSubscription(before);
  const topicsAfter = topicsOfSubscription(after);
  if (topicsBefore === null || topicsAfter === null) return before.equals(after);
  const known = new Set(topicsBefore);
  return known.size === new Set(topicsAfter).size && topicsAfter.every((topic) => known.has(topic));
}
