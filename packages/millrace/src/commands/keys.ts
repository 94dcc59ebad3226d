/** `millrace keys`: the API keys of a data dir, whether its server runs or not. */

import { nodeFileSystem, silentLogger, systemClock, systemRandom } from "@millrace/base";
import { type ApiKey, KeyStore, scopes } from "@millrace/gateway";
import { defineCommand } from "../command/define-command.ts";
import { CommandError, EXIT_DONE, UsageError } from "../command/errors.ts";
import type { CommandGroup, Io } from "../command/spec.ts";
import { keysCreateOptions, keysListOptions, keysRevokeOptions, keysVariable, readExpiry } from "../options/keys.ts";
import { renderTable } from "../terminal/table.ts";

const createCommand = defineCommand(
  {
    name: "keys create",
    summary: "Makes an API key and prints it. It is kept as a hash: it cannot be shown again.",
    examples: [
      {
        command: "millrace keys create --scope produce --topic-prefix orders.",
        meaning: "writes to orders.*, no more",
      },
      {
        command: "millrace keys create --scope admin --name ops --expires 90d",
        meaning: "may do everything, for a while",
      },
    ],
    operands: [],
    options: keysCreateOptions,
    notes: ["The key alone goes to stdout: KEY=$(millrace keys create). A running server accepts it within a second."],
    variableOf: keysVariable("keys create"),
  },
  async ({ options, io }) => {
    const expiresAtMs = options.expires === null ? null : readExpiry(options.expires, systemClock);
    if (options.expires !== null && expiresAtMs === null) {
      throw new UsageError(`--expires is ${options.expires}; it must be a while, as 90d, or a time to come`);
    }
    const store = await openStore(options.dataDir);
    const { text, key } = await inDataDir(options.dataDir, () =>
      store.create({
        name: options.name ?? "",
        scopes: scopes.filter((scope) => options.scope.includes(scope)),
        topicPrefixes: options.topicPrefix,
        expiresAtMs,
      }),
    );
    if (options.json) io.stdout.write(`${JSON.stringify({ key: text, ...keyJson(store, key) })}\n`);
    else {
      io.stdout.write(`${text}\n`);
      io.stderr.write(`${describe(key)}; it will not be shown again\n`);
    }
    return EXIT_DONE;
  },
);

const listCommand = defineCommand(
  {
    name: "keys list",
    summary: "Lists the API keys, oldest first, without the keys themselves.",
    examples: [{ command: "millrace keys list", meaning: "what each may do, and when it was last used" }],
    operands: [],
    options: keysListOptions,
    variableOf: keysVariable("keys list"),
  },
  async ({ options, io }) => {
    const store = await openStore(options.dataDir);
    const keys = store.list();
    if (options.json) {
      const all = keys.map((key) => keyJson(store, key));
      io.stdout.write(`${JSON.stringify(all, null, 2)}\n`);
    } else if (keys.length === 0) io.stderr.write("no API keys yet; millrace keys create makes one\n");
    else writeTable(store, keys, io);
    return EXIT_DONE;
  },
);

const revokeCommand = defineCommand(
  {
    name: "keys revoke",
    summary: "Makes API keys open nothing any more; a running server knows within a second.",
    examples: [{ command: "millrace keys revoke 3f9a0c5b7d1e2468", meaning: "the id is the one that the list shows" }],
    operands: [{ name: "ID", doc: "The ids of the keys.", isMany: true }],
    options: keysRevokeOptions,
    variableOf: keysVariable("keys revoke"),
  },
  async ({ options, operands, io }) => {
    const store = await openStore(options.dataDir);
    for (const id of operands) {
      if (!(await inDataDir(options.dataDir, () => store.revoke(id)))) {
        throw new CommandError(`there is no key ${id} in ${options.dataDir}; millrace keys list shows them`);
      }
      io.stdout.write(`${id}: revoked\n`);
    }
    return EXIT_DONE;
  },
);

export const keysCommands: CommandGroup = {
  kind: "group",
  name: "keys",
  summary: "The API keys of a server that runs with --auth keys.",
  examples: [
    { command: "millrace keys create --scope produce --topic-prefix orders.", meaning: "a new key" },
    { command: "millrace keys list", meaning: "all of them" },
  ],
  commands: {
    create: { summary: "make a key and print it", load: async () => createCommand },
    list: { summary: "show what each key may do", load: async () => listCommand },
    revoke: { summary: "take a key away", load: async () => revokeCommand },
  },
};

function openStore(dataDir: string): Promise<KeyStore> {
  const seams = { fileSystem: nodeFileSystem, clock: systemClock, random: systemRandom, logger: silentLogger };
  return inDataDir(dataDir, () => KeyStore.open({ dataDir, ...seams }));
}

async function inDataDir<T>(dataDir: string, work: () => Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error);
    throw new CommandError(`cannot use the API keys in ${dataDir}: ${reason}`, { cause: error });
  }
}

function describe({ id, scopes: allowed, topicPrefixes, expiresAtMs }: ApiKey): string {
  const topics = topicPrefixes.length === 0 ? "all topics" : topicPrefixes.map((prefix) => `${prefix}*`).join(", ");
  const end = expiresAtMs === null ? "" : ` until ${new Date(expiresAtMs).toISOString()}`;
  return `key ${id}: ${allowed.join(", ")} on ${topics}${end}`;
}

function writeTable(store: KeyStore, keys: readonly ApiKey[], io: Io): void {
  const rows = keys.map((key) => [
    key.id,
    key.name,
    key.scopes.join(","),
    key.topicPrefixes.join(",") || "all",
    shortTime(key.createdAtMs),
    shortTime(store.lastUsedMs(key.id)),
    shortTime(key.expiresAtMs),
  ]);
  io.stdout.write(renderTable(["id", "name", "scopes", "topics", "created", "last used", "expires"], rows));
}

function shortTime(timestampMs: number | null): string {
  return timestampMs === null ? "never" : new Date(timestampMs).toISOString().slice(0, 16).replace("T", " ");
}

function keyJson(store: KeyStore, key: ApiKey) {
  const iso = (timestampMs: number | null) => (timestampMs === null ? null : new Date(timestampMs).toISOString());
  return {
    id: key.id,
    name: key.name,
    scopes: key.scopes,
    topicPrefixes: key.topicPrefixes,
    createdAt: iso(key.createdAtMs),
    expiresAt: iso(key.expiresAtMs),
    lastUsedAt: iso(store.lastUsedMs(key.id)),
  };
}
