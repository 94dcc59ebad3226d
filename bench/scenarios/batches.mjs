/** Batches of 1,000 records with five of them in flight: what an importer does. */

const BATCH_RECORDS = 1000;
const IN_FLIGHT = 5;

export const batches = {
  run: "batches",
  cases: () => [
    { valueBytes: 100, payload: "pattern", codec: "none" },
    { valueBytes: 1024, payload: "pattern", codec: "none" },
    { valueBytes: 1024, payload: "json", codec: "gzip" },
    { valueBytes: 1024, payload: "json", codec: "lz4" },
  ],
};

export async function drive(peer, { topic, partitions, valueBytes, payload }, tally) {
  const value =
    payload === "json" ? jsonValue(valueBytes) : Buffer.from("0123456789".repeat(valueBytes)).subarray(0, valueBytes);
  const batch = Array.from({ length: BATCH_RECORDS }, (_, index) => ({ topic, partition: index % partitions, value }));
  await Promise.all(
    Array.from({ length: IN_FLIGHT }, async () => {
      while (tally.isRunning) {
        const startedMs = performance.now();
        await peer.sendBatch(topic, batch);
        tally.add(BATCH_RECORDS);
        tally.addLatency(performance.now() - startedMs);
      }
    }),
  );
}

/** A readable event, of the size asked for; compresses about as events do within a batch. */
function jsonValue(sizeBytes) {
  const readings = [];
  for (let index = 0; JSON.stringify({ readings }).length < sizeBytes - 40; index++) {
    readings.push({ sensor: `s-${(index * 7919) % 1000}`, celsius: ((index * 31) % 400) / 10 });
  }
  const text = JSON.stringify({ readings });
  return Buffer.from(text + " ".repeat(Math.max(0, sizeBytes - text.length)));
}
