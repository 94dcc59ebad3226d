/** A higher ceiling: node:http that throws the body away. */

import { createServer } from "node:http";
import { serveBench } from "../brokers/serve-bench.mjs";

const server = createServer((request, response) => {
  request.resume();
  request.on("end", () => response.end('{"count":0}'));
});
await new Promise((resolve) => server.listen(0, "127.0.0.1", resolve));

serveBench(`127.0.0.1:${server.address().port}`, async () => server.closeAllConnections());
