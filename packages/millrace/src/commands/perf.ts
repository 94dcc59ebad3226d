/** `millrace perf`: load generators that measure a broker, Millrace's or any Kafka's. */

import { KafkaError, Producer, Reader } from "@millrace/client";
import { defineCommand } from "../command/define-command.ts";
import { EXIT_DONE, EXIT_FAILED } from "../command/errors.ts";
import type { CommandGroup } from "../command/spec.ts";
import { clientConfig, clientVariable, connectionSection } from "../options/connection.ts";
import { perfConsumeOptions, perfProduceOptions } from "../options/perf.ts";
import { producerAcks } from "../options/producer-acks.ts";
import { findRanges, type PartitionRange } from "../records/topic-reader.ts";
import { PerfMeter, renderResult } from "../terminal/perf-report.ts";
import { withClientErrors } from "./client-errors.ts";

type ProduceOptions = ReturnType<typeof perfProduceOptions.resolve>;
type ConsumeOptions = ReturnType<typeof perfConsumeOptions.resolve>;

/** Different values, so that compression has something to do. */
const VALUE_COUNT = 64;
/** Time of one round of the sender at a fixed rate: what is due in it leaves together. */
const RATE_ROUND_MS = 1;
const FETCH_BYTES = 1024 * 1024;

const perfProduce = defineCommand(
  {
    name: "perf produce",
    summary: "Writes records as fast as they are acknowledged, or at a fixed rate, and tells how long each took.",
    examples: [
      { command: "millrace perf produce load --records 1000000", meaning: "1,000 callers, 100 bytes each" },
      { command: "millrace perf produce load --rate 5000 --records 50000", meaning: "latency at 5,000 a second" },
    ],
    operands: [{ name: "TOPIC", doc: "The topic to write to; made if it is not there and the broker allows it." }],
    options: perfProduceOptions,
    sections: [connectionSection],
    variableOf: clientVariable("perf produce"),
  },
  async ({ options, operands: [topic = ""], io }) => {
    const meter = new PerfMeter(io.stderr);
    await withClientErrors(options, () => produceLoad(topic, options, meter));
    const result = meter.finish();
    io.stdout.write(
      options.json
        ? `${JSON.stringify({ command: "perf produce", topic, recordSize: options.recordSize, ...result })}\n`
        : renderResult(result, "written", "acknowledged after"),
    );
    return result.failedCount === 0 ? EXIT_DONE : EXIT_FAILED;
  },
);

async function produceLoad(topic: string, options: ProduceOptions, meter: PerfMeter): Promise<void> {
  const producer = new Producer({
    ...clientConfig(options),
    acks: producerAcks(options.acks),
    compressionType: options.compression,
    lingerMs: options.lingerMs,
    batchSize: options.batchSize,
    maxRequestSize: Math.max(options.recordSize * 2, 1024 * 1024),
  });
  const values = randomValues(options.recordSize);
  const send = async (index: number, dueMs: number): Promise<void> => {
    try {
      await producer.send({ topic, value: values[index % values.length] ?? null });
      meter.done(1, options.recordSize, performance.now() - dueMs);
    } catch (error) {
      if (!(error instanceof KafkaError)) throw error;
      // The first failure before any success is a wrong address or a refused topic: nothing to measure.
      if (meter.recordCount === 0) throw error;
      meter.failed();
    }
  };
  try {
    if (options.rate === null) await sendInTurn(options, send);
    else await sendAtRate(options, options.rate, send);
  } finally {
    await producer.close();
  }
}

/** Callers that each wait for one record before they send the next. */
async function sendInTurn(
  options: ProduceOptions,
  send: (index: number, dueMs: number) => Promise<void>,
): Promise<void> {
  let index = 0;
  const caller = async () => {
    while (index < options.records) await send(index++, performance.now());
  };
  await Promise.all(Array.from({ length: Math.min(options.concurrency, options.records) }, caller));
}

/** Records when they are due. A stall of the broker shows in all that were due in it, as it would to real callers. */
async function sendAtRate(
  options: ProduceOptions,
  rate: number,
  send: (index: number, dueMs: number) => Promise<void>,
): Promise<void> {
  const startedMs = performance.now();
  const pending = new Set<Promise<void>>();
  let index = 0;
  while (index < options.records) {
    const dueCount = Math.min(Math.floor(((performance.now() - startedMs) / 1000) * rate) + 1, options.records);
    for (; index < dueCount && pending.size < options.concurrency; index++) {
      const sent = send(index, startedMs + (index / rate) * 1000);
      pending.add(sent);
      const forget = () => pending.delete(sent);
      sent.then(forget, forget);
    }
    if (pending.size >= options.concurrency) await Promise.race(pending);
    else await new Promise((resolve) => setTimeout(resolve, RATE_ROUND_MS));
  }
  await Promise.all(pending);
}

function randomValues(sizeBytes: number): Buffer[] {
  return Array.from({ length: VALUE_COUNT }, () => {
    const value = Buffer.allocUnsafe(sizeBytes);
    for (let index = 0; index < sizeBytes; index++) value[index] = 97 + Math.floor(Math.random() * 26);
    return value;
  });
}

const perfConsume = defineCommand(
  {
    name: "perf consume",
    summary: "Reads a topic as fast as it comes, all partitions at once, and tells how long each fetch took.",
    examples: [{ command: "millrace perf consume load", meaning: "all that perf produce wrote" }],
    operands: [{ name: "TOPIC", doc: "The topic to read." }],
    options: perfConsumeOptions,
    sections: [connectionSection],
    variableOf: clientVariable("perf consume"),
  },
  async ({ options, operands: [topic = ""], io }) => {
    const ranges = await withClientErrors(options, () => findRanges(options, topic, null, { kind: "earliest" }));
    const meter = new PerfMeter(io.stderr);
    await withClientErrors(options, () => consumeLoad(topic, ranges, options, meter));
    const result = meter.finish();
    io.stdout.write(
      options.json
        ? `${JSON.stringify({ command: "perf consume", topic, ...result })}\n`
        : renderResult(result, "read", "fetched in"),
    );
    return EXIT_DONE;
  },
);

async function consumeLoad(
  topic: string,
  ranges: readonly PartitionRange[],
  options: ConsumeOptions,
  meter: PerfMeter,
): Promise<void> {
  const limit = options.records ?? Number.POSITIVE_INFINITY;
  const readRange = async ({ partition, start, end }: PartitionRange) => {
    const reader = new Reader({ ...clientConfig(options), topic, partition, from: start, maxBytes: FETCH_BYTES });
    try {
      while ((reader.position ?? start) < end && meter.recordCount < limit) {
        const startedMs = performance.now();
        const records = await reader.read();
        const sizeBytes = records.reduce((sum, { key, value }) => sum + (key?.length ?? 0) + (value?.length ?? 0), 0);
        if (records.length > 0) meter.done(records.length, sizeBytes, performance.now() - startedMs);
      }
    } finally {
      await reader.close();
    }
  };
  await Promise.all(ranges.filter((range) => range.start < range.end).map(readRange));
}

export const perfCommands: CommandGroup = {
  kind: "group",
  name: "perf",
  summary: "Load generators with percentiles. They run against any Kafka.",
  examples: [
    { command: "millrace perf produce load --records 1000000 --record-size 100", meaning: "write" },
    { command: "millrace perf consume load", meaning: "and read" },
  ],
  commands: {
    produce: { summary: "write records and measure the acknowledgements", load: async () => perfProduce },
    consume: { summary: "read a topic and measure the fetches", load: async () => perfConsume },
  },
};
