/** C callers, each awaits one 100-byte send after the other: what a service does that answers requests. */

const VALUE_BYTES = 100;

/** Reading the clock twice a record would be a tenth of what a fast client costs; these suffice for a p99. */
const SAMPLE_EVERY = 8;

export const singles = {
  run: "singles",
  cases: ({ callers }) => callers.split(",").map((count) => ({ callers: Number(count) })),
};

export async function drive(peer, { callers, topic }, tally) {
  const value = Buffer.from("0123456789".repeat(VALUE_BYTES / 10));
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
