/** What a client is told it may do, if it asks (KIP-430). */

import type { RequestContext } from "../handler.ts";
import { CLUSTER_NAME } from "../security/acl.ts";

/** What stands in an answer to whoever did not ask. */
const NOT_ASKED = -(2 ** 31);

export function topicOperations(isAsked: boolean, name: string, { access }: RequestContext): number {
  return isAsked ? access.allowedOperations("TOPIC", name) : NOT_ASKED;
}

export function groupOperations(isAsked: boolean, groupId: string, { access }: RequestContext): number {
  return isAsked ? access.allowedOperations("GROUP", groupId) : NOT_ASKED;
}

/** None for whoever may not describe the cluster. */
export function clusterOperations(isAsked: boolean, { access }: RequestContext): number {
  if (!isAsked) return NOT_ASKED;
  return access.allows("DESCRIBE", "CLUSTER", CLUSTER_NAME) ? access.allowedOperations("CLUSTER", CLUSTER_NAME) : 0;
}
