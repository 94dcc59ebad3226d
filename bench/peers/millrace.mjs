/** Millrace's Producer as it comes: acks=all, idempotent, linger.ms 0. */

import { createRequire } from "node:module";
import { Producer } from "@millrace/client";

const { version } = createRequire(import.meta.url)("@millrace/client/package.json");

export function connect({ brokers, codec = "none", gzipLevel = null }) {
  const level = codec === "gzip" && gzipLevel !== null ? { compressionLevel: gzipLevel } : {};
  const producer = new Producer({ bootstrapServers: brokers, compressionType: codec, ...level });
  return {
    version,
    send: (topic, value) => producer.send({ topic, value }),
    sendBatch: (_topic, records) => producer.sendBatch(records),
    close: () => producer.close(),
  };
}
