/** The `millrace` command as its users run it: a process of its own, in tests that need to kill it or look at its exit. */

import { type ChildProcessWithoutNullStreams, spawn } from "node:child_process";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

const BIN = fileURLToPath(new URL("../../millrace/bin/millrace.cjs", import.meta.url));
const START_LIMIT_MS = 20_000;

export interface CommandResult {
  readonly exitCode: number | null;
  readonly signal: NodeJS.Signals | null;
  readonly stdout: Buffer;
  readonly stderr: string;
}

export interface CommandOptions {
  /** What the command reads from stdin; nothing where it is left out. */
  readonly input?: Uint8Array | string;
  readonly environment?: Readonly<Record<string, string>>;
}

/** Runs `millrace` with these words to its end. */
export async function runMillrace(words: readonly string[], options: CommandOptions = {}): Promise<CommandResult> {
  const child = spawnMillrace(words, options.environment);
  const result = collect(child);
  // A command that ends without reading its input closes the pipe: its exit code tells what matters.
  child.stdin.on("error", () => {});
  child.stdin.end(options.input);
  return result;
}

export interface ReadyLine {
  readonly event: "ready";
  readonly kafka: string | null;
  readonly http: string;
  readonly dataDir: string;
  readonly pid: number;
}

/** A running `millrace serve`. */
export interface ServeProcess {
  readonly ready: ReadyLine;
  /** From the start of the process to its ready line. */
  readonly startMs: number;
  readonly child: ChildProcessWithoutNullStreams;
  /** Settles when the process is gone. */
  readonly ended: Promise<CommandResult>;
  /** Sends the signal and waits for the end. */
  stop(signal?: NodeJS.Signals): Promise<CommandResult>;
}

/**
 * Starts `millrace serve` and waits for its ready line. Rejects with what it said if it ends instead.
 *
 * under: a command that runs it, such as one that traces it: `child` is that command then, `ready.pid` the server.
 */
export async function serveMillrace(
  words: readonly string[],
  environment?: Readonly<Record<string, string>>,
  under?: readonly string[],
): Promise<ServeProcess> {
  const startedMs = performance.now();
  const child = spawnMillrace(["serve", ...words], environment, under);
  const ended = collect(child);
  const ready = await new Promise<ReadyLine>((resolve, reject) => {
    let text = "";
    const timer = setTimeout(() => child.kill("SIGKILL"), START_LIMIT_MS);
    child.stdout.on("data", (bytes: Buffer) => {
      text += bytes.toString();
      if (!text.includes("\n")) return;
      clearTimeout(timer);
      resolve(JSON.parse(text.slice(0, text.indexOf("\n"))));
    });
    void ended.then(({ exitCode, signal, stderr }) => {
      clearTimeout(timer);
      reject(new Error(`millrace serve ended with ${exitCode ?? signal}: ${stderr}`));
    });
  });
  return {
    ready,
    startMs: performance.now() - startedMs,
    child,
    ended,
    stop(signal = "SIGTERM") {
      child.kill(signal);
      return ended;
    },
  };
}

export interface TemporaryFolder {
  readonly path: string;
  remove(): Promise<void>;
}

export async function temporaryFolder(): Promise<TemporaryFolder> {
  const path = await mkdtemp(join(tmpdir(), "millrace-test-"));
  return { path, remove: () => rm(path, { recursive: true, force: true }) };
}

function spawnMillrace(
  words: readonly string[],
  environment: Readonly<Record<string, string>> = {},
  under: readonly string[] = [],
): ChildProcessWithoutNullStreams {
  // What the tester's shell has set for Millrace is not what a test is about.
  const inherited = Object.entries(process.env).filter(([name]) => !name.startsWith("MILLRACE_"));
  const [program = process.execPath, ...rest] = [...under, process.execPath, BIN, ...words];
  return spawn(program, rest, { env: { ...Object.fromEntries(inherited), ...environment } });
}

function collect(child: ChildProcessWithoutNullStreams): Promise<CommandResult> {
  const stdout: Buffer[] = [];
  const stderr: Buffer[] = [];
  child.stdout.on("data", (bytes: Buffer) => stdout.push(bytes));
  child.stderr.on("data", (bytes: Buffer) => stderr.push(bytes));
  return new Promise((resolve) => {
    child.on("close", (exitCode, signal) => {
      resolve({ exitCode, signal, stdout: Buffer.concat(stdout), stderr: Buffer.concat(stderr).toString() });
    });
  });
}
