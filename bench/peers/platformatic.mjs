/** @platformatic/kafka, which needs Node 22.22 or newer. */

import { readFileSync } from "node:fs";
import { ProduceAcks, Producer } from "@platformatic/kafka";

/** The package does not export its package.json. */
const manifest = new URL("../package.json", import.meta.resolve("@platformatic/kafka"));
const { version } = JSON.parse(readFileSync(manifest, "utf8"));

export function connect({ brokers, codec = "none" }) {
  const producer = new Producer({ clientId: "bench", bootstrapBrokers: [brokers] });
  const options = { acks: ProduceAcks.ALL, compression: codec };
  return {
    version,
    send: (topic, value) => producer.send({ ...options, messages: [{ topic, value }] }),
    sendBatch: (_topic, messages) => producer.send({ ...options, messages }),
    close: () => producer.close(),
  };
}
