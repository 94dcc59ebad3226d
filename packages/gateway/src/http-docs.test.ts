import assert from "node:assert/strict";
import { type ChildProcess, spawn, spawnSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { after, before, suite, test } from "node:test";
import { httpCall, type StartedBroker, startBroker } from "@millrace/testing";
import { requestErrors } from "./errors.ts";
import { Gateway } from "./gateway.ts";
import type { GatewayConfig } from "./options.ts";

const PAGE = readFileSync(new URL("../../../docs/HTTP.md", import.meta.url), "utf8");
const DOCUMENTED_URL = "http://127.0.0.1:8080";
const KEY = "operator-key";

/** What changes from run to run; the rest of an answer is compared as it stands. */
const VOLATILE: ReadonlySet<string> = new Set(
  "requestId timestamp submittedAt updatedAt expiresAt createdAt lastUsedAt topicId uptimeMs version key id".split(" "),
);

/** Servers that examples ask for behind their language, as in ```sh keys. */
const servers: Readonly<Record<string, GatewayConfig>> = {
  "": {},
  keys: { auth: "keys", apiKeys: [KEY] },
  cors: { corsOrigin: ["https://app.example"] },
  limited: { keyRequestsPerSecond: 1 },
};

interface Example {
  readonly language: "sh" | "js";
  readonly server: string;
  readonly code: string;
  readonly expected: string;
  readonly line: number;
}

suite("docs/HTTP.md", { concurrency: false }, () => {
  let started: StartedBroker;
  let ofLimited: StartedBroker;
  const gateways = new Map<string, Gateway>();

  before(async () => {
    started = await startBroker();
    ofLimited = await startBroker();
    for (const [name, config] of Object.entries(servers)) {
      const { server } = name === "limited" ? ofLimited : started;
      gateways.set(name, await Gateway.open({ port: 0, bootstrapServers: server, ...config }));
    }
  });

  after(async () => {
    await Promise.all([...gateways.values()].map((gateway) => gateway.close()));
    await started.close();
    await ofLimited.close();
  });

  const hasCurl = spawnSync("curl", ["--version"]).status === 0;

  for (const example of examplesOf(PAGE)) {
    const { language, server, code, expected, line } = example;
    const isSkipped = language === "sh" && !hasCurl ? "there is no curl" : false;
    test(`line ${line}: ${code.split("\n", 1)[0]}`, { skip: isSkipped }, async () => {
      const gateway = gateways.get(server);
      assert.ok(gateway !== undefined, `no server ${server}`);
      const runnable = code.replaceAll(DOCUMENTED_URL, urlOf(gateway));

      if (language === "js") assertSameText(await runNode(runnable), expected);
      else assertSameAnswer(await runShell(runnable, expected), expected);
    });
  }

  test("names each route that there is, and no other, with its parameters and its statuses", async () => {
    const { json } = await httpCall("GET", `${urlOf(gateways.get(""))}/openapi.json`);
    const documented = routesOf(PAGE);
    const served = new Map<string, OpenApiOperation>();
    const ofRegistry: string[] = [];
    for (const [path, operations] of Object.entries<Record<string, OpenApiOperation>>(json.paths)) {
      for (const [method, operation] of Object.entries(operations)) {
        const route = `${method.toUpperCase()} ${path}`;
        if (isOfRegistry(path)) ofRegistry.push(route);
        else served.set(route, operation);
      }
    }

    assert.deepEqual([...documented.keys()].sort(), [...served.keys()].sort());
    assert.deepEqual(firstColumn(sectionOf(PAGE, "## The schema registry"), "Route").sort(), ofRegistry.sort());
    for (const [route, section] of documented) {
      const { parameters = [], responses } = served.get(route) ?? { responses: {} };
      const query = parameters.filter(({ in: where }) => where === "query").map(({ name }) => name);
      assert.deepEqual(firstColumn(section, "Parameter").sort(), query.sort(), `${route}: parameters`);
      // Those that any request may be answered with are told once, under Errors.
      const own = Object.keys(responses).filter((status) => !/^(?:400|401|403|413|429|503)$/.test(status));
      const told = statusesOf(section);
      assert.deepEqual(
        own.filter((status) => !told.includes(status)),
        [],
        `${route}: statuses that are not told`,
      );
      assert.deepEqual(
        told.filter((status) => !(status in responses)),
        [],
        `${route}: statuses that are not in openapi.json`,
      );
    }
  });

  test("names each field of a record that is taken", async () => {
    const { json } = await httpCall("GET", `${urlOf(gateways.get(""))}/openapi.json`);
    const { schema } = json.paths["/api/topics/{topic}/produce"].post.requestBody.content["application/json"];

    const told = firstColumn(sectionOf(PAGE, "#### Records"), "Field");

    assert.deepEqual(told.sort(), Object.keys(schema.properties.records.items.properties).sort());
  });

  test("names each code of HTTP's own with its status, and no other", () => {
    const told = rowsOf(sectionOf(PAGE, "## Errors"), "Code").map(([code, status]) => `${code} ${status}`);

    const coded = Object.entries(requestErrors).map(([code, { httpStatus }]) => `\`${code}\` ${httpStatus}`);
    assert.deepEqual(told.sort(), coded.sort());
  });
});

interface OpenApiOperation {
  readonly parameters?: readonly { readonly name: string; readonly in: string }[];
  readonly responses: Readonly<Record<string, unknown>>;
}

/** The schema registry speaks another's API, whose routes are only listed. */
function isOfRegistry(path: string): boolean {
  return path === "/schemas" || path.startsWith("/schemas/");
}

/** Each block of sh or js, with the block that follows it. */
function examplesOf(page: string): Example[] {
  const blocks = [...page.matchAll(/^```(\w+)(?: (\w+))?\n([\s\S]*?)^```$/gm)];
  return blocks.flatMap((block, index) => {
    const [, language = "", server = "", code = ""] = block;
    if (language !== "sh" && language !== "js") return [];
    const [, expectedLanguage, , expected = ""] = blocks[index + 1] ?? [];
    const line = page.slice(0, block.index).split("\n").length + 1;
    assert.equal(expectedLanguage, language === "sh" ? "http" : "text", `line ${line} has no answer`);
    return [{ language, server, code, expected, line }];
  });
}

/** What curl prints, its head included. A stream without an end is left once it has told as many messages as expected. */
async function runShell(code: string, expected: string): Promise<string> {
  const script = `curl() { command curl -s -i "$@"; }\n${code}`;
  const messageCount = expected.split("\ndata: ").length;
  const child = spawn("sh", ["-c", script], { env: { ...process.env, KEY }, detached: true });
  const isDone = (text: string) => code.includes("/tail") && text.split("\ndata: ").length >= messageCount;
  return outputOf(child, isDone);
}

function runNode(code: string): Promise<string> {
  const args = ["--input-type=module", "--no-warnings", "-e", code];
  return outputOf(spawn(process.execPath, args, { env: { ...process.env, KEY, NO_COLOR: "1" } }), () => false);
}

function outputOf(child: ChildProcess, isDone: (text: string) => boolean): Promise<string> {
  return new Promise((resolve, reject) => {
    let text = "";
    let errors = "";
    child.stderr?.on("data", (bytes) => {
      errors += bytes;
    });
    child.stdout?.on("data", (bytes) => {
      text += bytes;
      // The whole group: curl is a child of the shell.
      if (isDone(text) && text.endsWith("\n\n") && child.pid !== undefined) process.kill(-child.pid);
    });
    child.on("error", reject);
    child.on("close", (code, signal) => {
      if (code === 0 || signal !== null) resolve(text);
      else reject(new Error(`exit code ${code}: ${errors}${text}`));
    });
  });
}

/** Numbers of many digits, times and ids aside. */
function assertSameText(actual: string, expected: string): void {
  const plain = (text: string) =>
    text
      .replaceAll(/req_[\w-]{22}/g, "req_…")
      .replaceAll(/\d{4}-\d\d-\d\dT[\d:.]+Z/g, "(time)")
      .replaceAll(/\b\d{13}\b/g, "(ms)")
      .replaceAll(/\s+/g, " ")
      .trim();
  assert.equal(plain(actual), plain(expected));
}

/** Status, the headers that are shown, and the body. */
function assertSameAnswer(actual: string, expected: string): void {
  const answered = parseAnswer(actual);
  const documented = parseAnswer(expected);
  assert.equal(answered.status, documented.status, actual);
  for (const [name, value] of documented.headers) {
    assertSameText(answered.headers.get(name) ?? `no ${name}: ${actual}`, value);
  }
  if (answered.headers.get("content-type")?.startsWith("text/event-stream") === true) {
    assertSameText(answered.body, documented.body);
    return;
  }
  const [actualJson, expectedJson] = [jsonOf(answered.body), jsonOf(documented.body)];
  assert.deepEqual(actualJson.map(withoutVolatile), expectedJson.map(withoutVolatile), actual);
}

interface Answer {
  readonly status: string;
  readonly headers: ReadonlyMap<string, string>;
  readonly body: string;
}

function parseAnswer(text: string): Answer {
  const [head = "", ...body] = text.trimEnd().replaceAll("\r\n", "\n").split("\n\n");
  const [first = "", ...lines] = head.split("\n");
  const headers = lines.map((line): [string, string] => {
    const colon = line.indexOf(":");
    return [line.slice(0, colon).toLowerCase(), line.slice(colon + 1).trim()];
  });
  return { status: first.trim(), headers: new Map(headers), body: body.join("\n\n") };
}

/** One value; or, where it is none, one a line. */
function jsonOf(body: string): unknown[] {
  if (body.trim() === "") return [];
  try {
    return [JSON.parse(body)];
  } catch {
    return body
      .trim()
      .split("\n")
      .map((line) => JSON.parse(line));
  }
}

/** Of what is volatile, the type. */
function withoutVolatile(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(withoutVolatile);
  if (typeof value !== "object" || value === null) return value;
  return Object.fromEntries(
    Object.entries(value).map(([name, member]) => {
      const isVolatile = VOLATILE.has(name) && (typeof member === "number" || String(member).length > 8);
      return [name, isVolatile ? typeof member : withoutVolatile(member)];
    }),
  );
}

/** What stands under each heading that is a route. */
function routesOf(page: string): Map<string, string> {
  const parts = page.split(/^### `([A-Z]+ \/[^`]*)`$/m);
  const routes = new Map<string, string>();
  for (let index = 1; index + 1 < parts.length; index += 2) {
    // Up to the next heading of its rank or a higher one.
    const [section = ""] = (parts[index + 1] ?? "").split(/^##?#? /m);
    routes.set(parts[index] ?? "", section);
  }
  return routes;
}

function sectionOf(page: string, heading: string): string {
  const [, section = ""] = page.split(`\n${heading}\n`);
  return section.split(/^#{1,4} /m)[0] ?? "";
}

function rowsOf(section: string, head: string): string[][] {
  const lines = section.split("\n");
  const start = lines.findIndex((line) => line.startsWith(`| ${head} |`));
  if (start < 0) return [];
  const end = lines.findIndex((line, index) => index > start && !line.startsWith("|"));
  return lines.slice(start + 2, end < 0 ? undefined : end).map((line) =>
    line
      .split("|")
      .slice(1, -1)
      .map((cell) => cell.trim()),
  );
}

function firstColumn(section: string, head: string): string[] {
  return rowsOf(section, head).map(([cell = ""]) => cell.replaceAll("`", ""));
}

function statusesOf(section: string): string[] {
  const [, listed] = /^Answers: ([\d, ]+)\.$/m.exec(section) ?? [];
  return listed === undefined ? firstColumn(section, "Status") : listed.split(", ");
}

function urlOf(gateway: Gateway | undefined): string {
  assert.ok(gateway !== undefined, "the server runs");
  return `http://${gateway.address.host}:${gateway.address.port}`;
}
