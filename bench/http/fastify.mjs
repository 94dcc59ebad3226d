/** The ceiling: Fastify that parses the body and does nothing with it. */

import { fastify } from "fastify";
import { serveBench } from "../brokers/serve-bench.mjs";

const server = fastify({ bodyLimit: 64 * 1024 * 1024 });
server.addContentTypeParser("application/x-ndjson", { parseAs: "string" }, (_request, body, done) => {
  done(null, {
    records: body
      .trimEnd()
      .split("\n")
      .map((line) => JSON.parse(line)),
  });
});
server.post("/api/topics/:topic/produce", async (request) => ({ count: request.body.records.length }));
await server.listen({ host: "127.0.0.1", port: 0 });

serveBench(`127.0.0.1:${server.server.address().port}`, () => server.close());
