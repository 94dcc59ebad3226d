import { readFileSync } from "node:fs";
import { after, before, suite, test } from "node:test";
import { examplesOf, hasCurl, runExample, type StartedBroker, startBroker } from "@millrace/testing";
import { Gateway } from "./gateway.ts";

const PAGE = readFileSync(new URL("../../../docs/SCHEMAS.md", import.meta.url), "utf8");

suite("docs/SCHEMAS.md", { concurrency: false }, () => {
  let started: StartedBroker;
  let gateway: Gateway;

  before(async () => {
    started = await startBroker();
    gateway = await Gateway.open({ port: 0, bootstrapServers: started.server });
  });

  after(async () => {
    await gateway.close();
    await started.close();
  });

  for (const example of examplesOf(PAGE)) {
    const { language, code, line } = example;
    const isSkipped = language === "sh" && !hasCurl() ? "there is no curl" : false;
    test(`line ${line}: ${code.split("\n", 1)[0]}`, { skip: isSkipped }, async () => {
      const { host, port } = gateway.address;
      const runnable = code
        .replaceAll("127.0.0.1:8080", `${host}:${port}`)
        .replaceAll("127.0.0.1:9092", started.server);
      await runExample({ ...example, code: runnable });
    });
  }
});
