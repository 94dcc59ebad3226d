/** Batches of 1,000 records with five of them in flight: what an importer does. */

import { recordValues } from "../value.mjs";

const BATCH_RECORDS = 1000;
const IN_FLIGHT = 5;

export const batches = {
  run: "batches",
  cases: () => [
    { valueBytes: 100, payload: "pattern", codec: "none" },
    { valueBytes: 1024, payload: "pattern", codec: "none" },
    { valueBytes: 1024, payload: "json", codec: "gzip" },
    { valueBytes: 1024, payload: "json", codec: "lz4" },
    { payload: "events", codec: "none" },
    { payload: "events", codec: "gzip" },
    { payload: "events", codec: "lz4" },
    { payload: "events", codec: "zstd" },
  ],
};

export async function drive(peer, task, tally) {
  const { topic, partitions } = task;
  const values = recordValues(task);
  const batch = Array.from({ length: BATCH_RECORDS }, (_, index) => {
    return { topic, partition: index % partitions, value: values[index % values.length] };
  });
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
