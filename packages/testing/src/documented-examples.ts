/** The examples of a page of the documentation: a block of sh or js, and the answer that is printed behind it. */

import assert from "node:assert/strict";
import { type ChildProcess, spawn, spawnSync } from "node:child_process";

/** What changes from run to run; the rest of an answer is compared as it stands. */
const VOLATILE: ReadonlySet<string> = new Set(
  "requestId timestamp submittedAt updatedAt expiresAt createdAt lastUsedAt topicId uptimeMs version key id".split(" "),
);

export interface DocumentedExample {
  readonly language: "sh" | "js";
  /** The word behind the language: which server it is for. */
  readonly server: string;
  readonly code: string;
  readonly expected: string;
  readonly line: number;
}

type Environment = Readonly<Record<string, string>>;

export function hasCurl(): boolean {
  return spawnSync("curl", ["--version"]).status === 0;
}

/** Throws AssertionError for an answer that is another than the one that is printed, but for times, ids and the like. */
export async function runExample(example: DocumentedExample, environment: Environment = {}): Promise<void> {
  const { language, code, expected } = example;
  if (language === "js") assertSameText(await runNode(code, environment), expected);
  else assertSameAnswer(await runShell(code, expected, environment), expected);
}

/** Each block of sh or js, with the block that follows it. */
export function examplesOf(page: string): DocumentedExample[] {
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
async function runShell(code: string, expected: string, environment: Environment): Promise<string> {
  const script = `curl() { command curl -s -i "$@"; }\n${code}`;
  const messageCount = expected.split("\ndata: ").length;
  const child = spawn("sh", ["-c", script], { env: { ...process.env, ...environment }, detached: true });
  const isDone = (text: string) => code.includes("/tail") && text.split("\ndata: ").length >= messageCount;
  return outputOf(child, isDone);
}

function runNode(code: string, environment: Environment): Promise<string> {
  const args = ["--input-type=module", "--no-warnings", "-e", code];
  return outputOf(
    spawn(process.execPath, args, { env: { ...process.env, ...environment, NO_COLOR: "1" } }),
    () => false,
  );
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
