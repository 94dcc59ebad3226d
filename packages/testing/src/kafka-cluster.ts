/** A real Apache Kafka for a test: started, hurt and stopped with the command that KAFKA_CONTROL names. */

import { execFile } from "node:child_process";
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
}

/** Brokers are numbered from 1. */
export class KafkaCluster {
  readonly #control: string;
  readonly #stateDir: string;
  /** "host:port,host:port". */
  readonly bootstrapServers: string;

  private constructor(control: string, stateDir: string, bootstrapServers: string) {
    this.#control = control;
    this.#stateDir = stateDir;
    this.bootstrapServers = bootstrapServers;
  }

  /** control: the command, as in KAFKA_CONTROL. */
  static async start(control: string, options: KafkaClusterOptions): Promise<KafkaCluster> {
    const { nodes, port, settings = [] } = options;
    const stateDir = await mkdtemp(join(tmpdir(), "millrace-kafka-"));
    const words = ["start", "--nodes", String(nodes), "--port", String(port)];
    try {
      await runControl(control, stateDir, [...words, ...settings.flatMap((setting) => ["--set", setting])]);
    } catch (error) {
      await runControl(control, stateDir, ["stop"]);
      throw error;
    }
    const servers = Array.from({ length: nodes }, (_, index) => `127.0.0.1:${port + index}`);
    return new KafkaCluster(control, stateDir, servers.join(","));
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
  const java = ["-Xmx256m", "-XX:+UseSerialGC", "-cp", join(jars, "*"), className, ...words];
  const { stdout } = await execute("java", java, { maxBuffer: OUTPUT_LIMIT_BYTES });
  return stdout;
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
export async function readWithKcat(
  kcat: string,
  source: { readonly bootstrapServers: string; readonly topic: string; readonly partition: number },
): Promise<KcatRecord[]> {
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
