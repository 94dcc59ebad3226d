/** What a team writes by hand: a Fastify route that hands each request's records to a Kafka client. argv: peer, broker, partitions. */

import { fastify } from "fastify";
import { serveBench } from "../brokers/serve-bench.mjs";

const [peer, brokers] = process.argv.slice(2);
const { connect } = await import(`../peers/${peer}.mjs`);
const client = await connect({ brokers });

const server = fastify({ bodyLimit: 64 * 1024 * 1024 });
server.addContentTypeParser("application/x-ndjson", { parseAs: "string" }, (_request, body, done) => {
  done(null, {
    records: body
      .trimEnd()
      .split("\n")
      .map((line) => JSON.parse(line)),
  });
});
server.post("/api/topics/:topic/produce", async ({ params: { topic }, body }) => {
  const messages = body.records.map(({ value }) => ({ topic, value: JSON.stringify(value) }));
  return { offsets: await client.sendBatch(topic, messages) };
});
await server.listen({ host: "127.0.0.1", port: 0 });

serveBench(`127.0.0.1:${server.server.address().port}`, async () => {
  await server.close();
  await client.close();
});
