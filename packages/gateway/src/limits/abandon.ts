/** The rest of a body that nobody needs any more. */

import type { Readable } from "node:stream";
import { type Clock, SECOND_MS } from "@millrace/base";

/** Who goes on sending after an answer that needed no more is listened to for so long, so that it sees the answer. */
const ABANDONED_MS = 10 * SECOND_MS;

/** Reads the rest and throws it away, for a while; then the connection. */
export function abandon(payload: Readable, clock: Clock): void {
  if (payload.readableEnded || payload.destroyed) return;
  payload.on("error", () => {}).resume();
  const timer = clock.schedule(ABANDONED_MS, () => payload.destroy(), { background: true });
  payload.once("end", () => timer.cancel()).once("close", () => timer.cancel());
}
