import { spawnSync } from "node:child_process";
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { after, before, suite, test } from "node:test";
import { SchemaRegistryServer, startBroker } from "@millrace/testing";
import { root } from "./build.mjs";
import { runExample } from "./run-example.mjs";

/** Documents whose every example in JavaScript is checked as TypeScript, and run against a broker. */
const DOCUMENTS = ["README.md", "packages/client/README.md", "docs/PRODUCER.md"];

/** What an example takes for granted, by name: made for it where it uses the name without making it itself. */
const GIVEN = {
  Producer: `import { Producer } from "@millrace/client";`,
  pipeline: `import { pipeline } from "node:stream/promises";`,
  producer: `const producer = new Producer({ bootstrapServers: "localhost:9092" });`,
  records: `const records = [{ topic: "orders", key: "user-1", value: "paid" }];`,
  source: `const source = records;`,
  // As a Reader gives it: the order of the Avro example, with the id that a new registry gives to its schema.
  record: `const record = { topic: "orders", value: Buffer.from("0000000001020404ce", "hex"), headers: [] };`,
  ca: `const [ca, cert, key] = ["", "", ""];`,
  password: `const password = "secret";`,
  sendLater: `async function sendLater(given: object) { void given; }`,
  lookBeforeSendingAgain: `async function lookBeforeSendingAgain(given: object) { void given; }`,
};

/** Examples are JavaScript: what is caught or listened to has no type there. */
const LISTENERS = `
declare module "node:diagnostics_channel" {
  // biome-ignore lint/suspicious/noExplicitAny: as in JavaScript
  function subscribe(name: string, onMessage: (message: any) => void): void;
}
`;

const cache = join(root, "node_modules", ".cache");
mkdirSync(cache, { recursive: true });
const folder = mkdtempSync(join(cache, "producer-guide-"));
after(() => rmSync(folder, { recursive: true, force: true }));

suite("the producer's documents show code that compiles and works", () => {
  const examples = DOCUMENTS.flatMap((path) => [...examplesIn(path)]);
  let broker;
  let registry;

  before(async () => {
    [broker, registry] = await Promise.all([startBroker(), SchemaRegistryServer.start()]);
    writeFileSync(join(folder, "events.ndjson"), '{"id":1}\n{"id":2}\n');
    for (const { name, code } of examples) writeFileSync(join(folder, `${name}.mts`), programOf(code));
  });

  after(async () => {
    await broker?.close();
    await registry?.close();
  });

  test("all of it is right to TypeScript", () => {
    const options = {
      strict: true,
      useUnknownInCatchVariables: false,
      module: "nodenext",
      target: "es2022",
      types: ["node"],
      rootDir: ".",
      outDir: "compiled",
    };
    const files = examples.map(({ name }) => `${name}.mts`);
    writeFileSync(join(folder, "tsconfig.json"), JSON.stringify({ compilerOptions: options, files }));
    const compiler = join(root, "node_modules", "typescript", "bin", "tsc");
    const { status, stdout } = spawnSync(process.execPath, [compiler, "-p", folder], { encoding: "utf8" });
    if (status !== 0) throw new Error(stdout);
  });

  for (const { heading, name } of examples)
    test(`${heading}: ${name}`, () => runExample(join(folder, "compiled", `${name}.mjs`), folder));

  /** The example with what it takes for granted, towards the servers of this test. */
  function programOf(code) {
    let given = "";
    // A name that is given may need one that stands above it.
    for (const [name, text] of Object.entries(GIVEN).reverse()) {
      const program = given + code;
      if (hasWord(program, name) && !isMadeIn(program, name)) given = `${text}\n${given}`;
    }
    const listeners = hasWord(code, "subscribe") ? LISTENERS : "";
    return `${given}${code}\nprocess.exit();\n${listeners}`
      .replaceAll("localhost:9092", broker.server)
      .replaceAll("http://localhost:8081", registry.url);
  }
});

function* examplesIn(path) {
  let heading = path;
  let index = 0;
  const text = readFileSync(join(root, path), "utf8");
  for (const [, title, code] of text.matchAll(/^##+ ([^\n]+)$|^```[jt]s\n(.*?)^```$/gms)) {
    if (title !== undefined) heading = title;
    else yield { heading, code, name: `${path.replace(/\W/g, "-")}-${++index}` };
  }
}

function hasWord(code, name) {
  return new RegExp(`\\b${name}\\b`).test(code);
}

function isMadeIn(code, name) {
  return new RegExp(`(const|import|function) (\\{[^}]*|\\[[^\\]]*)?\\b${name}\\b`).test(code);
}
