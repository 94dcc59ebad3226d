/** The `millrace` command: finds the subcommand, loads it and nothing else, and turns its end into an exit code. */

import { readFileSync } from "node:fs";
import { nearestName } from "@millrace/base";
import { CommandError, EXIT_DONE, EXIT_FAILED, EXIT_USAGE, UsageError } from "./command/errors.ts";
import { renderGroupHelp } from "./command/help.ts";
import type { CommandGroup, Io } from "./command/spec.ts";

export const millrace: CommandGroup = {
  kind: "group",
  name: "",
  summary:
    "Millrace gets events into a log, fast and without losing any: an embedded Kafka broker, an HTTP Producer API, and tools that work with any Kafka.",
  examples: [
    { command: "millrace serve", meaning: "Kafka on 127.0.0.1:9092, HTTP on 127.0.0.1:8080, data in ./millrace-data" },
    { command: "echo hello | millrace produce greetings", meaning: "write a record, from another terminal" },
    { command: "millrace consume greetings", meaning: "read it back" },
  ],
  commands: {
    serve: {
      summary: "run the broker and the HTTP API, or the HTTP API over another Kafka",
      load: async () => (await import("./commands/serve.ts")).serveCommand,
    },
    produce: {
      summary: "write records to a topic, from files or stdin",
      load: async () => (await import("./commands/produce.ts")).produceCommand,
    },
    consume: {
      summary: "print the records of a topic",
      load: async () => (await import("./commands/consume.ts")).consumeCommand,
    },
    topics: {
      summary: "list, create, describe, alter and delete topics",
      load: async () => (await import("./commands/topics.ts")).topicsCommands,
    },
    log: {
      summary: "check the files of a data dir that no broker uses",
      load: async () => (await import("./commands/log.ts")).logCommands,
    },
    keys: {
      summary: "create, list and revoke the API keys of a server",
      load: async () => (await import("./commands/keys.ts")).keysCommands,
    },
    perf: {
      summary: "measure how fast records are written and read, with percentiles",
      load: async () => (await import("./commands/perf.ts")).perfCommands,
    },
  },
  notes: [
    "Every option is also an environment variable and, with --config, a key of a JSON file. Order: flag, variable, file, default.",
    "Exit codes: 0 done, 1 failed, 2 called wrongly.",
  ],
};

/** Runs the process's own command line and sets its exit code. */
export function runMain(): void {
  endQuietlyOnBrokenPipe(process.stdout);
  endQuietlyOnBrokenPipe(process.stderr);
  const { stdin, stdout, stderr, env } = process;
  main(process.argv.slice(2), { stdin, stdout, stderr, environment: env }).then(
    (exitCode) => {
      process.exitCode = exitCode;
    },
    (error: unknown) => {
      // A bug of ours: the stack is what helps.
      stderr.write(`${error instanceof Error ? (error.stack ?? error.message) : String(error)}\n`);
      process.exitCode = EXIT_FAILED;
    },
  );
}

/** Runs one command line and resolves with the exit code. What fails in a known way is told in one line on stderr. */
export async function main(words: readonly string[], io: Io): Promise<number> {
  try {
    return await dispatch(millrace, words, io);
  } catch (error) {
    if (!(error instanceof CommandError)) throw error;
    io.stderr.write(`millrace: ${error.message}\n`);
    return error.exitCode;
  }
}

async function dispatch(group: CommandGroup, words: readonly string[], io: Io): Promise<number> {
  const [word, ...rest] = words;
  if (word === "--help" || word === "-h" || (word === "help" && rest.length === 0)) {
    io.stdout.write(renderGroupHelp(group, io.stdout.columns));
    return EXIT_DONE;
  }
  if (group === millrace && (word === "--version" || word === "-v")) {
    io.stdout.write(`millrace ${packageVersion()} (Node.js ${process.versions.node})\n`);
    return EXIT_DONE;
  }
  if (group === millrace && word === "help") return dispatch(group, [...rest, "--help"], io);

  if (word === undefined) {
    io.stderr.write(renderGroupHelp(group, io.stderr.columns));
    return EXIT_USAGE;
  }

  const entry = Object.hasOwn(group.commands, word) ? group.commands[word] : undefined;
  if (entry === undefined) throw unknownCommand(group, word);
  const command = await entry.load();
  return command.kind === "group" ? dispatch(command, rest, io) : command.run(rest, io);
}

function unknownCommand(group: CommandGroup, word: string): UsageError {
  const names = Object.keys(group.commands);
  const prefix = group.name === "" ? "millrace" : `millrace ${group.name}`;
  const nearest = nearestName(word, names);
  const hint = nearest === null ? `${prefix} --help lists them` : `did you mean ${prefix} ${nearest}?`;
  return new UsageError(`there is no command ${word}; ${hint}`);
}

function packageVersion(): string {
  const manifest: unknown = JSON.parse(readFileSync(new URL("../package.json", import.meta.url), "utf8"));
  const hasVersion = typeof manifest === "object" && manifest !== null && "version" in manifest;
  return hasVersion ? String(manifest.version) : "unknown";
}

/** A reader that has seen enough (`| head`) is no failure: nobody is left to tell anything to. */
function endQuietlyOnBrokenPipe(stream: NodeJS.WriteStream): void {
  stream.on("error", (error: NodeJS.ErrnoException) => {
    if (error.code !== "EPIPE") throw error;
    process.exit(EXIT_DONE);
  });
}
