/** `millrace serve` as it comes, broker and HTTP in one process, on a folder that is deleted afterwards. */

import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { startMillrace } from "millrace";
import { serveBench } from "../brokers/serve-bench.mjs";

const dataDir = await mkdtemp(join(tmpdir(), "millrace-bench-"));
const millrace = await startMillrace({ dataDir, kafka: "127.0.0.1:0", http: "127.0.0.1:0" });
const address = `${millrace.http.host}:${millrace.http.port}`;
await fetch(`http://${address}/api/topics`, { method: "POST", body: '{"name":"bench","partitions":6}' });

serveBench(address, async () => {
  await millrace.close();
  await rm(dataDir, { recursive: true });
});
