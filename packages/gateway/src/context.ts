/** What the handlers work with: opened with the gateway, closed with it. */

import type { Admin } from "@millrace/client";
import type { AsyncRequests } from "./async/async-requests.ts";
import type { KeyStore } from "./auth/key-store.ts";
import type { Health } from "./health.ts";
import type { IdempotencyKeys } from "./idempotency/idempotency-keys.ts";
import type { Connections } from "./limits/connections.ts";
import type { Intake } from "./limits/intake.ts";
import type { Turns } from "./limits/turns.ts";
import type { Metrics } from "./metrics.ts";
import type { GatewayOptions } from "./options.ts";
import type { Producers } from "./producers.ts";
import type { Schemas } from "./registry/schemas.ts";
import type { Tails } from "./tails.ts";
import type { TopicDirectory } from "./topic-directory.ts";

export interface GatewayContext {
  readonly options: GatewayOptions;
  readonly admin: Admin;
  readonly producers: Producers;
  readonly topics: TopicDirectory;
  readonly asyncRequests: AsyncRequests;
  readonly idempotencyKeys: IdempotencyKeys;
  readonly schemas: Schemas;
  readonly keys: KeyStore;
  readonly connections: Connections;
  readonly intake: Intake;
  /** For those who read much at once. */
  readonly reads: Turns;
  readonly tails: Tails;
  readonly health: Health;
  readonly metrics: Metrics;
}
