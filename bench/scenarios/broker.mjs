/** The broker's own figures, Apache Kafka's beside them: they take turns, round by round. */

import { execFile } from "node:child_process";
import { mkdtemp, open, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import { Admin, Producer } from "@millrace/client";
import { KafkaBroker, MillraceBroker } from "../brokers/contestants.mjs";
import { describeMachine, measure, median, whole } from "../measure.mjs";

const execute = promisify(execFile);
const PARTITIONS = 6;
const TOPICS = 1000;
const GIBIBYTE = 2 ** 30;
const PERF_RUNS = [
  { recordBytes: 1024, recordCount: 500_000 },
  { recordBytes: 100, recordCount: 2_000_000 },
];
const PACED = { connections: 50, recordsPerSecond: 5000, callers: 0 };
/** Of a record of 100 bytes, as it lies in the log. */
const SMALL_WRITE_BYTES = 170;

const parts = { singles, paced, produce, consume, restart, topics };

export async function runBroker(values) {
  const machine = describeMachine();
  console.log(`broker; ${machine.cpu}, Node ${machine.node}, ${machine.os}, ${new Date().toISOString()}\n`);
  const control = process.env.KAFKA_CONTROL;
  const brokers = [await MillraceBroker.start()];
  try {
    if (control !== undefined) brokers.push(await KafkaBroker.start(control, Number(values["kafka-port"])));
    for (const broker of brokers) await createTopics(broker);
    for (const part of values.parts.split(",")) await parts[part](brokers, values);
  } finally {
    for (const broker of brokers) await broker.close();
  }
}

/** Synced ones, which say nothing new to Millrace, and those with each broker's defaults. */
async function createTopics(broker) {
  const defaults = ["perf1024", "perf100", "fill"].map((name) => ({ name, partitions: PARTITIONS }));
  const synced = { name: "bench", partitions: PARTITIONS, config: { "flush.messages": "1" } };
  await withAdmin(broker, (admin) => admin.createTopics([synced, ...defaults]));
}

async function withAdmin(broker, run) {
  const admin = new Admin({ bootstrapServers: broker.address });
  try {
    return await run(admin);
  } finally {
    await admin.close();
  }
}

/** Both synced. */
async function singles(brokers, values) {
  for (const callers of values.callers.split(",").map(Number)) {
    const results = await takeTurns(brokers, values, (broker) => measureClient(broker, values, "singles", { callers }));
    showLatencies(`awaited singles of 100 B, ${callers} callers, synced`, brokers, results);
  }
}

/** Both synced; the disk by itself beside them. */
async function paced(brokers, values) {
  const syncs = [];
  const results = await takeTurns(brokers, values, async (broker) => {
    syncs.push(await measureSyncs(Number(values.seconds) * 1000));
    return measureClient(broker, values, "paced", PACED);
  });
  const { connections, recordsPerSecond } = PACED;
  showLatencies(`${recordsPerSecond} records/s from ${connections} connections, synced`, brokers, results);
  const p99Ms = median(syncs.map((sorted) => sorted[Math.floor(sorted.length * 0.99)]));
  const p50Ms = median(syncs.map((sorted) => sorted[Math.floor(sorted.length / 2)]));
  console.log(
    `one file, ${SMALL_WRITE_BYTES} B and fdatasync: p50 ${p50Ms.toFixed(2)} ms, p99 ${p99Ms.toFixed(2)} ms\n`,
  );
}

function measureClient(broker, values, run, specifics) {
  const task = {
    topic: "bench",
    partitions: PARTITIONS,
    warmupMs: Number(values.warmup) * 1000,
    measuredMs: Number(values.seconds) * 1000,
    peer: "millrace",
    brokers: broker.address,
    run,
    ...specifics,
  };
  return measure(task, broker);
}

async function measureSyncs(forMs) {
  const folder = await mkdtemp(join(tmpdir(), "millrace-bench-sync-"));
  const file = await open(join(folder, "file"), "w");
  const bytes = Buffer.alloc(SMALL_WRITE_BYTES, 1);
  const latenciesMs = [];
  try {
    const endMs = performance.now() + forMs;
    for (let startedMs = performance.now(); startedMs < endMs; startedMs = performance.now()) {
      await file.write(bytes);
      await file.datasync();
      latenciesMs.push(performance.now() - startedMs);
    }
  } finally {
    await file.close();
    await rm(folder, { recursive: true });
  }
  return latenciesMs.sort((a, b) => a - b);
}

function showLatencies(title, brokers, results) {
  console.log(`### ${title}\n`);
  console.log("| broker | records/s (lowest–highest) | p50 / p99 ms |");
  console.log("|---|---|---|");
  for (const { name } of brokers) {
    const of = (field) => results.get(name).map((result) => result[field]);
    const latencies = `${median(of("p50Ms")).toFixed(2)} / ${median(of("p99Ms")).toFixed(2)}`;
    console.log(`| ${name} | ${spread(of("recordsPerSecond"))} | ${latencies} |`);
  }
  console.log();
}

/** Millrace synced, Kafka as it comes. */
async function produce(brokers, values) {
  for (const { recordBytes, recordCount } of PERF_RUNS) {
    const results = await takeTurns(brokers, values, async (broker) => {
      const output = await java("org.apache.kafka.tools.ProducerPerformance", [
        ...["--topic", `perf${recordBytes}`, "--num-records", String(recordCount)],
        ...["--record-size", String(recordBytes), "--throughput", "-1"],
        ...["--producer-props", `bootstrap.servers=${broker.address}`, "acks=all"],
      ]);
      return Number(/([\d.]+) MB\/sec/.exec(output.split("\n").at(-1))[1]);
    });
    showRates(`kafka-producer-perf-test, ${recordBytes} B, acks=all (Kafka unsynced)`, brokers, results);
  }
}

/** What `produce` has left in the page cache. */
async function consume(brokers, values) {
  const { recordBytes, recordCount } = PERF_RUNS[0];
  const results = await takeTurns(brokers, values, async (broker) => {
    const output = await java("org.apache.kafka.tools.ConsumerPerformance", [
      ...["--bootstrap-server", broker.address, "--topic", `perf${recordBytes}`],
      ...["--num-records", String(recordCount)],
    ]);
    const columns = output.split("\n").at(-1).split(",");
    return Number(columns[8]);
  });
  showRates(`kafka-consumer-perf-test, ${recordBytes} B (fetch.MB.sec)`, brokers, results);
}

async function java(mainClass, words) {
  const jars = process.env.KAFKA_JARS;
  if (jars === undefined) throw new Error("KAFKA_JARS is not set: a folder with Kafka's jars");
  const { stdout } = await execute("java", ["-Xmx512m", "-cp", `${jars}/*`, mainClass, ...words]);
  return stdout.trim();
}

function showRates(title, brokers, results) {
  console.log(`### ${title}\n`);
  console.log("| broker | MiB/s (lowest–highest) |");
  console.log("|---|---|");
  for (const { name } of brokers) console.log(`| ${name} | ${spread(results.get(name))} |`);
  console.log();
}

/** How long a killed broker takes until it answers again, with a log of so many bytes. */
async function restart(brokers, values) {
  const logBytes = Number(values["log-gib"]) * GIBIBYTE;
  console.log(`### restart after kill -9, ${values["log-gib"]} GiB of log more\n`);
  for (const broker of brokers) {
    await fill(broker, logBytes);
    await showRestart(broker);
  }
  console.log();
}

async function fill(broker, logBytes) {
  const producer = new Producer({ bootstrapServers: broker.address });
  const value = Buffer.alloc(16 * 1024, 1);
  const batch = Array.from({ length: 600 }, (_, index) => ({ topic: "fill", partition: index % PARTITIONS, value }));
  for (let sentBytes = 0; sentBytes < logBytes; sentBytes += batch.length * value.length)
    await producer.sendBatch(batch);
  await producer.close();
}

async function showRestart(broker) {
  await broker.kill();
  const startMs = await broker.restart();
  const listedMs = await timed(() => withAdmin(broker, (admin) => admin.listTopics()));
  console.log(`- ${broker.name}: ${whole(startMs)} ms until it is up, ${whole(listedMs)} ms for all topics`);
}

/** Many partitions with a record in each. */
async function topics(brokers) {
  console.log(`### ${TOPICS} topics of ${PARTITIONS} partitions\n`);
  const names = Array.from({ length: TOPICS }, (_, index) => `many-${index}`);
  for (const broker of brokers) {
    const definitions = names.map((name) => ({ name, partitions: PARTITIONS }));
    const createdMs = await timed(() => withAdmin(broker, (admin) => admin.createTopics(definitions)));
    const { rssBytes } = await broker.usage();
    const rss = rssBytes === null ? "" : `, then ${whole(rssBytes / 2 ** 20)} MiB`;
    console.log(`- ${broker.name}: created in ${whole(createdMs)} ms${rss}`);
    const filledMs = await timed(() => sendToAll(broker, names));
    console.log(`- ${broker.name}: a record for each partition in ${whole(filledMs)} ms`);
    await showRestart(broker);
  }
  console.log();
}

async function sendToAll(broker, names) {
  const producer = new Producer({ bootstrapServers: broker.address });
  const value = Buffer.alloc(100, 1);
  for (const topic of names) {
    await producer.sendBatch(Array.from({ length: PARTITIONS }, (_, partition) => ({ topic, partition, value })));
  }
  await producer.close();
}

/** Round by round, a turn for each broker. Results by the broker's name. */
async function takeTurns(brokers, values, turn) {
  const results = new Map(brokers.map(({ name }) => [name, []]));
  for (let round = 0; round < Number(values.rounds); round++) {
    for (const broker of brokers) results.get(broker.name).push(await turn(broker));
  }
  return results;
}

function spread(numbers) {
  return `${whole(median(numbers))} (${whole(Math.min(...numbers))}–${whole(Math.max(...numbers))})`;
}

async function timed(run) {
  const startedMs = performance.now();
  await run();
  return performance.now() - startedMs;
}
