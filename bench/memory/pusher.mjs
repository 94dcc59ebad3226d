/** A process that sends records and waits for none of them, while its broker is dead. Talks to scenarios/memory.mjs over IPC. */

import { peers } from "../peers/index.mjs";

const VALUE_BYTES = 1_000;
const WARMING_RECORDS = 5_000;
const RECORDS_A_TURN = 200;
/** Growth at which a client counts as unbounded: the machine has other things to do with its memory. */
const GIVE_UP_BYTES = 1024 * 1024 * 1024;

process.once("message", async (task) => {
  const { connect } = await peers[task.peer]();
  const peer = await connect(task);
  const value = Buffer.alloc(VALUE_BYTES, "v");
  const send = () => peer.send(task.topic, value);
  for (let sent = 0; sent < WARMING_RECORDS; sent += RECORDS_A_TURN) {
    await Promise.all(Array.from({ length: RECORDS_A_TURN }, send));
  }
  const told = new Promise((resolve) => process.once("message", resolve));
  process.send({ version: peer.version });
  await told;
  process.send(await push(send, task.pushedMs));
  // What it still holds has nowhere to go.
  process.exit();
});

async function push(send, pushedMs) {
  const rssBefore = process.memoryUsage.rss();
  const endMs = performance.now() + pushedMs;
  let grownBytes = 0;
  let sentCount = 0;
  let refusedCount = 0;
  // Two functions for all records: what a caller keeps of each would count as the client's memory.
  const onSuccess = () => {};
  const onError = () => {
    refusedCount += 1;
  };
  while (performance.now() < endMs && grownBytes < GIVE_UP_BYTES) {
    for (let index = 0; index < RECORDS_A_TURN; index++) send().then(onSuccess, onError);
    sentCount += RECORDS_A_TURN;
    await new Promise((resolve) => setImmediate(resolve));
    grownBytes = Math.max(grownBytes, process.memoryUsage.rss() - rssBefore);
  }
  return { grownBytes, sentCount, refusedCount, hasGivenUp: grownBytes >= GIVE_UP_BYTES };
}
