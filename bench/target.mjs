/** What the clients are measured against: a broker that is there, Millrace's own, or one that only acknowledges. */

import { fork } from "node:child_process";
import { Admin } from "@millrace/client";

/**
 * brokers: "host:port", "embedded" or "null".
 *
 * Returns its address, once the topic is there; cpuMicros() is null for a broker that was not started here.
 */
export async function openTarget(brokers, { topic, partitions }) {
  const isStartedHere = brokers === "embedded" || brokers === "null";
  const target = isStartedHere
    ? await startBroker(new URL(`brokers/${brokers}.mjs`, import.meta.url), partitions)
    : { address: brokers, cpuMicros: async () => null, close: async () => {} };
  // The null broker says of any topic that it is there.
  if (brokers !== "null") await createTopic(target.address, topic, partitions);
  return target;
}

async function startBroker(script, partitions) {
  const broker = fork(script, [String(partitions)]);
  const ended = new Promise((resolve) => broker.once("exit", resolve));
  const next = () =>
    new Promise((resolve, reject) => {
      broker.once("message", resolve);
      void ended.then((code) => reject(new Error(`the broker ended with exit code ${code}`)));
    });
  const { address } = await next();
  return {
    address,
    async cpuMicros() {
      const answer = next();
      broker.send("cpu");
      return (await answer).cpuMicros;
    },
    async close() {
      broker.send("close");
      await ended;
    },
  };
}

export async function createTopic(bootstrapServers, name, partitions) {
  const admin = new Admin({ bootstrapServers });
  try {
    await admin.createTopics([{ name, partitions }]);
  } catch (error) {
    if (error.code !== "TOPIC_ALREADY_EXISTS") throw error;
  } finally {
    await admin.close();
  }
}
