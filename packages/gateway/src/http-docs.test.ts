import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { after, before, suite, test } from "node:test";
import { examplesOf, hasCurl, httpCall, runExample, type StartedBroker, startBroker } from "@millrace/testing";
import { requestErrors } from "./errors.ts";
import { Gateway } from "./gateway.ts";
import type { GatewayConfig } from "./options.ts";

const PAGE = readFileSync(new URL("../../../docs/HTTP.md", import.meta.url), "utf8");
const DOCUMENTED_URL = "http://127.0.0.1:8080";
const KEY = "operator-key";

/** Servers that examples ask for behind their language, as in ```sh keys. */
const servers: Readonly<Record<string, GatewayConfig>> = {
  "": {},
  keys: { auth: "keys", apiKeys: [KEY] },
  cors: { corsOrigin: ["https://app.example"] },
  limited: { keyRequestsPerSecond: 1 },
};

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

  for (const example of examplesOf(PAGE)) {
    const { language, server, code, line } = example;
    const isSkipped = language === "sh" && !hasCurl() ? "there is no curl" : false;
    test(`line ${line}: ${code.split("\n", 1)[0]}`, { skip: isSkipped }, async () => {
      const gateway = gateways.get(server);
      assert.ok(gateway !== undefined, `no server ${server}`);
      await runExample({ ...example, code: code.replaceAll(DOCUMENTED_URL, urlOf(gateway)) }, { KEY });
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
