/** Health: whether this process lives, and whether it can take records. */

import { type Clock, sleep } from "@millrace/base";
import type { Admin } from "@millrace/client";
import type { Intake } from "./limits/intake.ts";
import type { Producers } from "./producers.ts";

/** An answer of the brokers counts for so long: probes come from several places. */
const CHECK_MAX_AGE_MS = 1_000;
/** A broker that takes longer to say that it is there counts as away. */
const CHECK_TIMEOUT_MS = 2_000;
/** While brokers are asked, how often it is looked whether there is still room. */
const ROOM_LOOK_MS = 100;
/** Readiness goes before the buffer is full: a balancer needs time to look elsewhere. */
const BUFFER_FILL_LIMIT = 0.9;

export type HealthStatus = "healthy" | "degraded" | "unhealthy";

interface ComponentHealth {
  readonly status: HealthStatus;
  readonly message: string;
}

export interface HealthReport {
  readonly status: HealthStatus;
  readonly components: { readonly cluster: ComponentHealth; readonly producer: ComponentHealth };
}

export interface HealthParts {
  readonly admin: Pick<Admin, "describeCluster">;
  readonly producers: Pick<Producers, "bufferFill">;
  readonly intake: Pick<Intake, "fill">;
  readonly clock: Clock;
}

export class Health {
  readonly #parts: HealthParts;
  #cluster: ComponentHealth = { status: "unhealthy", message: "not asked yet" };
  #checkedAtMs = Number.NEGATIVE_INFINITY;
  #check: Promise<void> | null = null;
  #isClosing = false;

  constructor(parts: HealthParts) {
    this.#parts = parts;
  }

  get isClosing(): boolean {
    return this.#isClosing;
  }

  /** From now on not ready, so that no new work is sent here. */
  beginClosing(): void {
    this.#isClosing = true;
  }

  async isReady(): Promise<boolean> {
    return (await this.report()).status === "healthy";
  }

  async report(): Promise<HealthReport> {
    await this.#asked();
    const producer = this.#producerHealth();
    const isUnhealthy = this.#cluster.status === "unhealthy" || producer.status === "unhealthy";
    const status = isUnhealthy ? "unhealthy" : producer.status;
    return { status, components: { cluster: this.#cluster, producer } };
  }

  #producerHealth(): ComponentHealth {
    if (this.#isClosing) return { status: "unhealthy", message: "shutting down" };
    const { producers, intake } = this.#parts;
    const fill = Math.max(producers.bufferFill, intake.fill);
    const message = `${Math.round(fill * 100)} % of the room for requests and records is taken`;
    return { status: fill > BUFFER_FILL_LIMIT ? "degraded" : "healthy", message };
  }

  /**
   * Resolves when the brokers have answered; or before, when there is no room: then the answer is no, whatever they say,
   * and those who are the cause of it would be slow to say it.
   */
  async #asked(): Promise<void> {
    const { clock } = this.#parts;
    const check = this.#checkCluster().then(() => true);
    while (this.#producerHealth().status === "healthy") {
      if (await Promise.race([check, sleep(clock, ROOM_LOOK_MS).then(() => false)])) return;
    }
  }

  /** Asks the brokers, unless somebody just did. */
  #checkCluster(): Promise<void> {
    if (this.#parts.clock.nowMs() - this.#checkedAtMs < CHECK_MAX_AGE_MS) return Promise.resolve();
    this.#check ??= this.#askCluster().finally(() => {
      this.#check = null;
    });
    return this.#check;
  }

  async #askCluster(): Promise<void> {
    this.#cluster = await this.#clusterHealth();
    this.#checkedAtMs = this.#parts.clock.nowMs();
  }

  #clusterHealth(): Promise<ComponentHealth> {
    const { admin, clock } = this.#parts;
    return new Promise((resolve) => {
      const timer = clock.schedule(CHECK_TIMEOUT_MS, () => {
        resolve({ status: "unhealthy", message: `no broker answered within ${CHECK_TIMEOUT_MS} ms` });
      });
      admin
        .describeCluster()
        .then(
          ({ brokers }) => resolve({ status: "healthy", message: `${brokers.length} known` }),
          (error: unknown) => resolve({ status: "unhealthy", message: error instanceof Error ? error.message : "" }),
        )
        .finally(() => timer.cancel());
    });
  }
}
