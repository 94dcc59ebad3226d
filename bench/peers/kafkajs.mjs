/** kafkajs: a request per send, whatever else waits. */

import { createRequire } from "node:module";
import kafkajs from "kafkajs";

const { CompressionTypes, Kafka, logLevel } = kafkajs;
const { version } = createRequire(import.meta.url)("kafkajs/package.json");

/** The only codec it brings; the others are packages of their own. */
const codecs = { none: CompressionTypes.None, gzip: CompressionTypes.GZIP };

export async function connect({ brokers, codec = "none", idempotent = false }) {
  const compression = codecs[codec];
  if (compression === undefined) return null;
  const kafka = new Kafka({ brokers: [brokers], logLevel: logLevel.NOTHING });
  const producer = kafka.producer({ idempotent });
  await producer.connect();
  return {
    version,
    send: (topic, value) => producer.send({ topic, acks: -1, messages: [{ value }] }),
    sendBatch: (topic, messages) => producer.send({ topic, acks: -1, compression, messages }),
    close: () => producer.disconnect(),
  };
}
