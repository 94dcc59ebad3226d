// A week of earthquakes into the topic "earthquakes", keyed by their ids, each value as it stands in the file.
// Start Millrace (or any Kafka) first, then:   node examples/produce-earthquakes.mjs [host:port]
import { createReadStream } from "node:fs";
import { createInterface } from "node:readline";
import { Producer } from "@millrace/client";

const producer = new Producer({ bootstrapServers: process.argv[2] ?? "localhost:9092", compressionType: "gzip" });
try {
  const lines = createInterface({ input: createReadStream(new URL("earthquakes.ndjson", import.meta.url)) });
  const sent = [];
  for await (const line of lines)
    sent.push(producer.send({ topic: "earthquakes", key: JSON.parse(line).id, value: line }));
  const results = await Promise.all(sent);
  console.log(`${results.length} records are on disk; the last one:`, results.at(-1).toJSON());
} finally {
  await producer.close();
}
