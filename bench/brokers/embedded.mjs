/** Millrace's broker as it comes, on the folder given, or else on one that is deleted afterwards. */

import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Broker } from "@millrace/broker";
import { serveBench } from "./serve-bench.mjs";

const [partitions, keptDir] = process.argv.slice(2);
const dataDir = keptDir ?? (await mkdtemp(join(tmpdir(), "millrace-bench-")));
const broker = await Broker.open({ dataDir, port: 0, defaultPartitions: Number(partitions) });

serveBench(`${broker.address.host}:${broker.address.port}`, async () => {
  await broker.close();
  if (keptDir === undefined) await rm(dataDir, { recursive: true });
});
