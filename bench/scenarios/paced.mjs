/** A fixed rate of single records, spread evenly over many connections: how long acknowledgements take without pressure. */

import { connect } from "../peers/millrace.mjs";
import { recordValue } from "../value.mjs";

/** Spinning would take a core from the broker; five records of as many connections come together instead. */
const TICK_MS = 1;

export async function drive(_peer, task, tally) {
  const { connections, recordsPerSecond, topic } = task;
  const value = recordValue(task);
  const producers = Array.from({ length: connections }, () => connect(task));
  await Promise.all(producers.map((producer) => producer.send(topic, value)));
  const pending = new Set();
  const startedMs = performance.now();
  for (let sentCount = 0; tally.isRunning; ) {
    const dueCount = ((performance.now() - startedMs) / 1000) * recordsPerSecond;
    for (; sentCount < dueCount; sentCount++) {
      const delivery = sendTimed(producers[sentCount % connections], topic, value, tally);
      pending.add(delivery);
      void delivery.then(() => pending.delete(delivery));
    }
    await new Promise((resolve) => setTimeout(resolve, TICK_MS));
  }
  await Promise.all(pending);
  await Promise.all(producers.map((producer) => producer.close()));
}

async function sendTimed(producer, topic, value, tally) {
  const startedMs = performance.now();
  await producer.send(topic, value);
  tally.add(1);
  tally.addLatency(performance.now() - startedMs);
}
