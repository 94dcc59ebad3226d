/** Millrace's broker as it comes, on a folder that is deleted afterwards. */

import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Broker } from "@millrace/broker";
import { serveBench } from "./serve-bench.mjs";

const dataDir = await mkdtemp(join(tmpdir(), "millrace-bench-"));
const broker = await Broker.open({ dataDir, port: 0, defaultPartitions: Number(process.argv[2]) });

serveBench(`${broker.address.host}:${broker.address.port}`, async () => {
  await broker.close();
  await rm(dataDir, { recursive: true });
});
