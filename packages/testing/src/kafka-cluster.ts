/** A real Apache Kafka for a test: started, hurt and stopped with the command that KAFKA_CONTROL names. */

import { execFile, spawnSync } from "node:child_process";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";

const execute = promisify(execFile);
const OUTPUT_LIMIT_BYTES = 256 * 1024 * 1024;

export interface KafkaClusterOptions {
  /** 1 or 3. */
  readonly nodes: number;
  /** The first node's; the command takes the next ones too, and some beyond 100 more. */
  readonly port: number;
  /** Broker settings, as "key=value". */
  readonly settings?: readonly string[];
  /** With listeners that ask who comes: see `listeners`. */
  readonly isSecure?: boolean;
}

/** Where the first broker of a secured cluster listens, as "host:port". User alice, password alice-secret. */
export interface SecureListeners {
  /** PLAIN, SCRAM-SHA-256, SCRAM-SHA-512. */
  readonly sasl: string;
  /** Asks for a client certificate. */
  readonly mutualTls: string;
  readonly saslOverTls: string;
}

/** Brokers are numbered from 1. */
export class KafkaCluster {
  readonly #control: string;
  readonly #stateDir: string;
  /** "host:port,host:port". */
  readonly bootstrapServers: string;
  readonly listeners: SecureListeners;

  private constructor(control: string, stateDir: string, { nodes, port }: KafkaClusterOptions) {
    const server = (index: number) => `127.0.0.1:${port + index}`;
    this.#control = control;
    this.#stateDir = stateDir;
    this.bootstrapServers = Array.from({ length: nodes }, (_, index) => server(index)).join(",");
    this.listeners = { sasl: server(200), mutualTls: server(300), saslOverTls: server(400) };
  }

  /** The path of a file that a secured cluster's clients need: "ca.crt", "client.crt", "client.key". */
  tlsFile(name: string): string {
    return join(this.#stateDir, "tls", name);
  }

  /** control: the command, as in KAFKA_CONTROL. */
  static async start(control: string, options: KafkaClusterOptions): Promise<KafkaCluster> {
    const { nodes, port, settings = [], isSecure = false } = options;
    const stateDir = await mkdtemp(join(tmpdir(), "millrace-kafka-"));
    const words = ["start", "--nodes", String(nodes), "--port", String(port), ...(isSecure ? ["--secure"] : [])];
    try {
      await runControl(control, stateDir, [...words, ...settings.flatMap((setting) => ["--set", setting])]);
    } catch (error) {
      await runControl(control, stateDir, ["stop"]);
      throw error;
    }
    return new KafkaCluster(control, stateDir, options);
  }

  /** SIGKILL. */
  kill(nodeId: number): Promise<void> {
    return this.#run("kill", nodeId);
  }

  /** Starts a killed broker on its data. */
  restart(nodeId: number): Promise<void> {
    return this.#run("restart", nodeId);
  }

  /** SIGSTOP: its sockets stay open and accept, nothing answers. */
  pause(nodeId: number): Promise<void> {
    return this.#run("pause", nodeId);
  }

  resume(nodeId: number): Promise<void> {
    return this.#run("resume", nodeId);
  }

  /** Stops all and deletes their data. */
  async stop(): Promise<void> {
    await runControl(this.#control, this.#stateDir, ["stop"]);
    await rm(this.#stateDir, { recursive: true, force: true });
  }

  async #run(action: string, nodeId: number): Promise<void> {
    await runControl(this.#control, this.#stateDir, [action, String(nodeId)]);
  }
}

async function runControl(control: string, stateDir: string, words: readonly string[]): Promise<void> {
  const [command = "", ...given] = control.split(" ");
  await execute(command, [...given, ...words], { env: { ...process.env, KAFKA_STATE: stateDir } });
}

/** Runs one of Kafka's own command line tools, by its full class name. jars: a folder, as in KAFKA_JARS. Gives its stdout. */
export async function runKafkaTool(jars: string, className: string, words: readonly string[]): Promise<string> {
  return (await runJava(jars, className, words)).toString();
}

async function runJava(jars: string, className: string, words: readonly string[]): Promise<Buffer> {
  const java = ["-Xmx256m", "-XX:+UseSerialGC", "-cp", join(jars, "*"), className, ...words];
  const { stdout } = await execute("java", java, { encoding: "buffer", maxBuffer: OUTPUT_LIMIT_BYTES });
  return stdout;
}

export interface PartitionSource {
  readonly bootstrapServers: string;
  readonly topic: string;
  readonly partition: number;
}

/** A record as Kafka's own consumer prints it. */
export interface KafkaRecord {
  readonly timestamp: number;
  /** "name:value,name:value". */
  readonly headers: string;
  readonly key: Buffer | null;
  readonly value: Buffer | null;
}

/** Longest that Kafka's consumer waits for another record before it gives up. */
const CONSUMER_LIMIT_MS = 60_000;
/** What no record of a test has in it. */
const MARKS = { field: "<|field|>", end: "<|end|>", null: "<|null|>" };

/** Reads the first `count` records of a partition with Kafka's own consumer. jars: as for `runKafkaTool`. */
export async function readWithKafka(jars: string, source: PartitionSource, count: number): Promise<KafkaRecord[]> {
  const { bootstrapServers, topic, partition } = source;
  const properties = {
    "print.timestamp": "true",
    "print.headers": "true",
    "print.key": "true",
    "key.separator": MARKS.field,
    "line.separator": MARKS.end,
    "null.literal": MARKS.null,
  };
  const stdout = await runJava(jars, "org.apache.kafka.tools.consumer.ConsoleConsumer", [
    ...["--bootstrap-server", bootstrapServers, "--topic", topic, "--partition", String(partition)],
    ...["--from-beginning", "--max-messages", String(count), "--timeout-ms", String(CONSUMER_LIMIT_MS)],
    ...Object.entries(properties).flatMap(([name, value]) => ["--property", `${name}=${value}`]),
  ]);
  // Newer versions warn first, that --property will be called otherwise one day.
  const records = stdout.subarray(stdout.indexOf("CreateTime:"));
  return splitAt(records, MARKS.end)
    .slice(0, count)
    .map((line) => {
      const [time, headers, key = null, value = null] = splitAt(line, MARKS.field);
      const timestamp = Number(time?.toString().replace("CreateTime:", ""));
      return { timestamp, headers: headers?.toString() ?? "", key: unlessNull(key), value: unlessNull(value) };
    });
}

function splitAt(bytes: Buffer, mark: string): Buffer[] {
  const parts: Buffer[] = [];
  let start = 0;
  for (let at = bytes.indexOf(mark); at >= 0; at = bytes.indexOf(mark, start)) {
    parts.push(bytes.subarray(start, at));
    start = at + mark.length;
  }
  return [...parts, bytes.subarray(start)];
}

function unlessNull(bytes: Buffer | null): Buffer | null {
  return bytes?.equals(Buffer.from(MARKS.null)) === true ? null : bytes;
}

/** A record as kcat sees it. Sizes tell null (-1) from empty. */
export interface KcatRecord {
  readonly offset: bigint;
  readonly timestamp: number;
  readonly key: Buffer | null;
  readonly value: Buffer | null;
  /** "name=value,name=value" as kcat prints them. */
  readonly headers: string;
}

/** Reads a whole partition with kcat, librdkafka's command line client. kcat: its path. */
export async function readWithKcat(kcat: string, source: PartitionSource): Promise<KcatRecord[]> {
  const words = ["-C", "-q", "-e", "-o", "beginning", "-b", source.bootstrapServers, "-t", source.topic];
  const format = ["-p", String(source.partition), "-f", "%o %T %K %S %h\\n%k%s\\n"];
  const { stdout } = await execute(kcat, [...words, ...format], { encoding: "buffer", maxBuffer: OUTPUT_LIMIT_BYTES });
  const records: KcatRecord[] = [];
  let position = 0;
  const take = (sizeBytes: number) => {
    const start = position;
    position += Math.max(sizeBytes, 0);
    return stdout.subarray(start, position);
  };
  while (position < stdout.length) {
    const line = take(stdout.indexOf("\n", position) - position).toString();
    position += 1;
    const [offset = "", timestamp = "", keySize = "", valueSize = "", ...headers] = line.split(" ");
    const key = take(Number(keySize));
    const value = take(Number(valueSize));
    position += 1;
    records.push({
      offset: BigInt(offset),
      timestamp: Number(timestamp),
      key: Number(keySize) < 0 ? null : key,
      value: Number(valueSize) < 0 ? null : value,
      headers: headers.join(" "),
    });
  }
  return records;
}

/** Where kcat is: in KCAT, or on the path; null where it is not. */
export function findKcat(): string | null {
  if (process.env.KCAT !== undefined) return process.env.KCAT;
  const { status } = spawnSync("kcat", ["-V"], { stdio: "ignore" });
  return status === 0 ? "kcat" : null;
}
