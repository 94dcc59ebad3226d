/** @platformatic/kafka, which needs Node 22.22 or newer. */

import { createRequire } from "node:module";
import { ProduceAcks, Producer } from "@platformatic/kafka";

const { version } = createRequire(import.meta.url)("@platformatic/kafka/package.json");

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
