/** What each of the three requests about access control lists asks for first. */

import { KafkaError } from "@millrace/protocol";
import type { RequestContext } from "../handler.ts";

/** Throws SECURITY_DISABLED where there are none, CLUSTER_AUTHORIZATION_FAILED for whoever may not see or change them. */
export function expectAcls({ access, broker }: RequestContext, operation: "DESCRIBE" | "ALTER"): void {
  if (!broker.accessControl.isOn) {
    throw new KafkaError(
      "SECURITY_DISABLED",
      "this broker has no access control lists: whoever may come in may do everything; they begin with superUsers",
    );
  }
  access.expectCluster(operation);
}
