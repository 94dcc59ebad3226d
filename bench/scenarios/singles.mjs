/** C callers, each awaits one 100-byte send after the other: what a service does that answers requests. */

import { recordValue } from "../value.mjs";

/** Reading the clock twice a record would be a tenth of what a fast client costs; these suffice for a p99. */
const SAMPLE_EVERY = 8;

export const singles = {
  run: "singles",
  cases: ({ callers }) => callers.split(",").map((count) => ({ callers: Number(count) })),
};

export async function drive(peer, task, tally) {
  const { callers, topic } = task;
  const value = recordValue(task);
  const sampleEvery = callers > 10 ? SAMPLE_EVERY : 1;
  await Promise.all(
    Array.from({ length: callers }, async (_, caller) => {
      for (let sent = caller; tally.isRunning; sent++) {
        const isSampled = sent % sampleEvery === 0;
        const startedMs = isSampled ? performance.now() : 0;
        await peer.send(topic, value);
        tally.add(1);
        if (isSampled) tally.addLatency(performance.now() - startedMs);
      }
    }),
  );
}
