/** The two brokers that the scenario `broker` compares: Millrace's, and Apache Kafka where KAFKA_CONTROL names a command. */

import { execFile, fork } from "node:child_process";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";

const execute = promisify(execFile);
/** As bin/millrace.cjs sets it. */
const THREAD_COUNT = "16";

/** Millrace in a process of its own, on a folder that outlives kill(). */
export class MillraceBroker {
  name = "millrace";
  address = "";
  #dataDir;
  #process;

  static async start() {
    const broker = new MillraceBroker();
    broker.#dataDir = await mkdtemp(join(tmpdir(), "millrace-bench-"));
    await broker.restart();
    return broker;
  }

  /** Milliseconds from the start of the process until it answers. */
  async restart() {
    const startedMs = performance.now();
    const script = new URL("embedded.mjs", import.meta.url);
    this.#process = fork(script, ["6", this.#dataDir], {
      env: { ...process.env, UV_THREADPOOL_SIZE: THREAD_COUNT },
    });
    const { address } = await this.#next();
    this.address = address;
    return performance.now() - startedMs;
  }

  #next() {
    const broker = this.#process;
    return new Promise((resolve, reject) => {
      const onExit = (code) => reject(new Error(`the broker ended with exit code ${code}`));
      broker.once("exit", onExit);
      broker.once("message", (message) => {
        broker.off("exit", onExit);
        resolve(message);
      });
    });
  }

  async usage() {
    const answer = this.#next();
    this.#process.send("cpu");
    return answer;
  }

  async cpuMicros() {
    return (await this.usage()).cpuMicros;
  }

  /** It is there and answers nothing. */
  async pause() {
    this.#process.kill("SIGSTOP");
  }

  async kill() {
    const ended = new Promise((resolve) => this.#process.once("exit", resolve));
    this.#process.kill("SIGKILL");
    await ended;
  }

  async close() {
    if (this.#process.exitCode === null && this.#process.signalCode === null) await this.kill();
    await rm(this.#dataDir, { recursive: true });
  }
}

/** Apache Kafka with its defaults: it acknowledges what is in the page cache. Topics with flush.messages=1 are synced. */
export class KafkaBroker {
  name = "kafka";
  address;
  #control;
  #stateDir;

  static async start(control, port) {
    const broker = new KafkaBroker();
    broker.#control = control;
    broker.#stateDir = await mkdtemp(join(tmpdir(), "millrace-bench-kafka-"));
    broker.address = `127.0.0.1:${port}`;
    await broker.#run("start", "--port", String(port));
    return broker;
  }

  async restart() {
    const startedMs = performance.now();
    await this.#run("restart", "1");
    return performance.now() - startedMs;
  }

  /** Not known of a process that is not ours. */
  async cpuMicros() {
    return null;
  }

  async usage() {
    return { rssBytes: null };
  }

  async pause() {
    await this.#run("pause", "1");
  }

  async kill() {
    await this.#run("kill", "1");
  }

  async close() {
    await this.#run("stop");
    await rm(this.#stateDir, { recursive: true, force: true });
  }

  async #run(...words) {
    await execute(this.#control, words, { env: { ...process.env, KAFKA_STATE: this.#stateDir } });
  }
}
