/** `millrace produce`: files and stdin into a topic. */

import { formatBytes } from "@millrace/base";
import { KafkaError, Producer, type ProducerRecord, SendBatchError } from "@millrace/client";
import { defineCommand } from "../command/define-command.ts";
import { EXIT_DONE, EXIT_FAILED } from "../command/errors.ts";
import type { Io } from "../command/spec.ts";
import { clientConfig, clientVariable, connectionSection } from "../options/connection.ts";
import { produceOptions } from "../options/produce.ts";
import { producerAcks } from "../options/producer-acks.ts";
import { type Input, openInputs, type RecordChunk, readLines, readWhole, STDIN } from "../records/record-source.ts";
import { formatCount, Progress } from "../terminal/progress.ts";
import { withClientErrors } from "./client-errors.ts";

type ProduceOptions = ReturnType<typeof produceOptions.resolve>;

/** Bytes read and not yet acknowledged; what a file of any size takes of the memory, with the producer's own buffer. */
const IN_FLIGHT_BYTES = 16 * 1024 * 1024;
/** What a record weighs beside its bytes: at most 84,000 are under way, and fewer than 100,000 may wait for a topic's metadata. */
const RECORD_OVERHEAD_BYTES = 200;
const REQUEST_TIMEOUT_MS = 30_000;
/** Failures that are told one by one; the rest are counted. */
const SHOWN_FAILURES = 20;

export const produceCommand = defineCommand(
  {
    name: "produce",
    summary: "Writes records to a topic, from files or stdin, and returns when all are acknowledged.",
    examples: [
      { command: "echo hello | millrace produce greetings", meaning: "one record" },
      { command: "millrace produce orders orders.txt --key-separator :", meaning: 'lines like "user-1:paid"' },
      {
        command: "millrace produce orders orders.ndjson --format ndjson",
        meaning: 'lines like {"key":"user-1","value":{"paid":true}}',
      },
      { command: "millrace produce images *.png --format raw", meaning: "each file a record" },
    ],
    operands: [
      { name: "TOPIC", doc: "The topic to write to; made if it is not there and the broker allows it." },
      { name: "FILE", doc: "What to read; without it, or where it is -, stdin.", isOptional: true, isMany: true },
    ],
    options: produceOptions,
    sections: [connectionSection],
    notes: [
      "lines: bytes are not decoded. A line ends at the delimiter, and the last one at the end of the file; an empty line is an empty value. A \\r before the \\n belongs to the value, unless --delimiter '\\r\\n' says otherwise.",
      'ndjson: {"key":…,"value":…,"partition":0,"timestamp":1769853600000,"headers":[{"key":"trace","value":"…"}]}, all but value optional, as in the records of an HTTP produce request. JSON values keep their bytes. Blank lines are skipped.',
      "A record that cannot be read or is not acknowledged is told with its line and counted; the others are written, and the exit code is 1. Ctrl-C stops reading; what was read is still written.",
    ],
    variableOf: clientVariable("produce"),
  },
  async ({ options, operands: [topic = "", ...files], io }) => {
    const inputs = await openInputs(files);
    return withClientErrors(options, () => produce(topic, inputs, options, io));
  },
);

async function produce(topic: string, inputs: readonly Input[], options: ProduceOptions, io: Io): Promise<number> {
  const producer = new Producer({
    ...clientConfig(options),
    acks: producerAcks(options.acks),
    compressionType: options.compression,
    lingerMs: options.lingerMs,
    maxRequestSize: options.maxRequestSize,
    deliveryTimeoutMs: options.deliveryTimeoutMs,
    requestTimeoutMs: Math.min(REQUEST_TIMEOUT_MS, Math.max(options.deliveryTimeoutMs - options.lingerMs, 1)),
    // A full buffer is how a file that is faster than the broker is made to wait: as long as a record may take.
    maxBlockMs: options.deliveryTimeoutMs,
  });
  const isTyped = io.stdin.isTTY && inputs.some((input) => input.path === STDIN);
  if (isTyped && !options.quiet) io.stderr.write("Each line is a record; Ctrl-D ends.\n");

  const sending = new Sending(producer, topic, inputs, io, options.quiet || isTyped);
  const interrupt = new Interrupt();
  const chunks = await readInputs(topic, inputs, options, io);
  try {
    for (;;) {
      const next = await interrupt.orNext(chunks);
      if (next === null || next.done === true) break;
      await sending.send(next.value);
      if (sending.isHopeless) {
        sending.progress.printLine("millrace: the cluster takes no records; what is left of the input is not tried");
        break;
      }
    }
    await sending.settleAll();
    await producer.close();
  } finally {
    // After an error, what is still buffered is not waited for.
    void producer.close({ timeoutMs: 0 }).catch(() => {});
    sending.progress.close();
    // A read of stdin that waits would keep the process alive after Ctrl-C.
    io.stdin.destroy();
  }
  if (!options.quiet) io.stderr.write(`${sending.summary()}\n`);
  return sending.failedCount === 0 ? EXIT_DONE : EXIT_FAILED;
}

async function readInputs(
  topic: string,
  inputs: readonly Input[],
  options: ProduceOptions,
  io: Io,
): Promise<AsyncGenerator<RecordChunk>> {
  const headers = options.headers.map(readHeader);
  const toRecord = recordMaker(topic, options.partition, headers);
  const givenKey = options.key === null ? null : Buffer.from(options.key);
  const delimiter = Buffer.from(options.delimiter);
  switch (options.format) {
    case "raw":
      return readWhole(inputs, io.stdin, options.maxRequestSize, (value) => toRecord(givenKey, value));
    case "ndjson": {
      // The gateway brings the web framework with it, which the other formats need not wait for.
      const { readRecordLine } = await import("@millrace/gateway");
      const readLine = (line: Buffer): ProducerRecord => {
        const { key, value, headers: own, ...rest } = readRecordLine(line, options);
        return { ...toRecord(key ?? givenKey, value), headers: [...headers, ...own], ...rest };
      };
      return readLines(inputs, io.stdin, delimiter, readLine, true);
    }
    case "lines": {
      const separator = options.keySeparator === null ? null : Buffer.from(options.keySeparator);
      const readLine = (line: Buffer): ProducerRecord => {
        if (separator === null) return toRecord(givenKey, line);
        const at = line.indexOf(separator);
        if (at === -1) throw new Error(`there is no key: the line has no ${JSON.stringify(options.keySeparator)}`);
        return toRecord(line.subarray(0, at), line.subarray(at + separator.length));
      };
      return readLines(inputs, io.stdin, delimiter, readLine, false);
    }
  }
}

type RecordMaker = (key: Buffer | null, value: Buffer | null) => ProducerRecord;

/** Literals of one shape: a record spread from a common part made a million lines take 3 s longer (Node 20). */
function recordMaker(topic: string, partition: number | null, headers: readonly RecordHeader[]): RecordMaker {
  if (partition === null) return (key, value) => ({ topic, key, value, headers });
  return (key, value) => ({ topic, key, value, headers, partition });
}

type RecordHeader = readonly [name: string, value: Buffer | null];

function isGivenUp(error: KafkaError): boolean {
  return error.retriable || error.code === "DELIVERY_TIMEOUT";
}

/** "trace=abc" → its name and bytes; "trace" → null. */
function readHeader(text: string): RecordHeader {
  const at = text.indexOf("=");
  return at === -1 ? [text, null] : [text.slice(0, at), Buffer.from(text.slice(at + 1))];
}

/** Ctrl-C. Not a promise to race with: each race would stay in its memory, with the chunk that won it. */
class Interrupt {
  #stop: (() => void) | null = null;
  #isRaised = false;

  constructor() {
    process.once("SIGINT", () => {
      this.#isRaised = true;
      this.#stop?.();
    });
  }

  /** The next chunk, or null if Ctrl-C came first. */
  orNext(chunks: AsyncGenerator<RecordChunk>): Promise<IteratorResult<RecordChunk> | null> {
    return new Promise((resolve, reject) => {
      this.#stop = () => resolve(null);
      if (this.#isRaised) this.#stop();
      else chunks.next().then(resolve, reject);
    });
  }
}

/** Records on their way, with a limit on how many, and what became of those before. */
class Sending {
  readonly progress: Progress;
  readonly #producer: Producer;
  readonly #topic: string;
  readonly #inputBytes: number | null;
  readonly #startedMs = performance.now();
  /** In the order they were sent, which is nearly the order they are acknowledged in. */
  readonly #inFlight: { readonly settled: Promise<void>; readonly weightBytes: number }[] = [];
  #inFlightBytes = 0;
  #doneCount = 0;
  #doneBytes = 0;
  #failedCount = 0;
  #toldCount = 0;
  #isHopeless = false;

  constructor(producer: Producer, topic: string, inputs: readonly Input[], io: Io, isQuiet: boolean) {
    this.#producer = producer;
    this.#topic = topic;
    this.#inputBytes = inputs.reduce<number | null>(
      (sum, input) => (sum === null || input.sizeBytes === null ? null : sum + input.sizeBytes),
      0,
    );
    this.progress = new Progress(io.stderr, topic, isQuiet, () => ({
      recordCount: this.#doneCount,
      sizeBytes: this.#doneBytes,
      fraction: this.#inputBytes === null || this.#inputBytes === 0 ? null : this.#doneBytes / this.#inputBytes,
    }));
  }

  /** All records of a chunk failed with what might have passed with time, and time is up: so it would go on. */
  get isHopeless(): boolean {
    return this.#isHopeless;
  }

  get failedCount(): number {
    return this.#failedCount;
  }

  /** Resolves when there is room for more. */
  async send(chunk: RecordChunk): Promise<void> {
    for (const failure of chunk.failures) this.#fail(failure.place, failure.reason);
    const weightBytes = chunk.sizeBytes + chunk.records.length * RECORD_OVERHEAD_BYTES;
    this.#inFlight.push({ settled: this.#deliver(chunk), weightBytes });
    this.#inFlightBytes += weightBytes;
    while (this.#inFlightBytes > IN_FLIGHT_BYTES) await this.#settleOldest();
  }

  async settleAll(): Promise<void> {
    while (this.#inFlight.length > 0) await this.#settleOldest();
  }

  summary(): string {
    const seconds = Math.max((performance.now() - this.#startedMs) / 1000, 0.001);
    const failed = this.#failedCount === 0 ? "" : `, ${formatCount(this.#failedCount)} failed`;
    const records = this.#doneCount === 1 ? "1 record" : `${formatCount(this.#doneCount)} records`;
    return `${records} written to ${this.#topic}${failed}: ${formatBytes(this.#doneBytes)} in ${seconds.toFixed(2)} s, ${formatCount(this.#doneCount / seconds)} records/s`;
  }

  async #settleOldest(): Promise<void> {
    const oldest = this.#inFlight.shift();
    if (oldest === undefined) return;
    await oldest.settled;
    this.#inFlightBytes -= oldest.weightBytes;
  }

  async #deliver({ records, placeOf, sizeBytes }: RecordChunk): Promise<void> {
    let failedCount = 0;
    try {
      if (records.length > 0) await this.#producer.sendBatch(records);
    } catch (error) {
      if (!(error instanceof KafkaError)) throw error;
      const results = error instanceof SendBatchError ? error.results : records.map(() => error);
      failedCount = this.#failAll(results, placeOf);
      this.#isHopeless ||= results.every((result) => result instanceof KafkaError && isGivenUp(result));
    }
    this.#doneCount += records.length - failedCount;
    this.#doneBytes += sizeBytes;
  }

  /** Returns how many failed. Neighbours with the same reason, as a batch that failed whole, are told together. */
  #failAll(results: readonly unknown[], placeOf: (index: number) => string): number {
    let failedCount = 0;
    let index = 0;
    while (index < results.length) {
      const from = index;
      const failure = results[index++];
      if (!(failure instanceof KafkaError)) continue;
      for (let next = results[index]; next instanceof KafkaError && next.message === failure.message; ) {
        next = results[++index];
      }
      const place = index - from === 1 ? placeOf(from) : `${placeOf(from)} to ${placeOf(index - 1)}`;
      this.#fail(place, failure.message, index - from);
      failedCount += index - from;
    }
    return failedCount;
  }

  #fail(place: string, reason: string, recordCount = 1): void {
    this.#failedCount += recordCount;
    this.#toldCount += 1;
    if (this.#toldCount <= SHOWN_FAILURES) this.progress.printLine(`millrace: ${place}: ${reason}`);
    if (this.#toldCount === SHOWN_FAILURES) this.progress.printLine("millrace: further failures are only counted");
  }
}
