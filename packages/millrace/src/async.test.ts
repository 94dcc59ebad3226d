import assert from "node:assert/strict";
import { test } from "node:test";
import { httpCall, serveMillrace, startBroker, temporaryFolder } from "@millrace/testing";

const REQUESTS = 20;
const RECORDS = 200;
const ANY_PORTS = ["--kafka", "127.0.0.1:0", "--http", "127.0.0.1:0"];

test("requests that were answered with 202 are finished by the next process when this one is killed", async () => {
  const folder = await temporaryFolder();
  const words = ["--data-dir", folder.path, ...ANY_PORTS];
  const first = await serveMillrace(words);
  await httpCall("POST", `http://${first.ready.http}/api/topics`, '{"name":"orders","partitions":3}');

  const accepted = Promise.all(
    Array.from({ length: REQUESTS }, (_, index) => produceAsync(first.ready.http, recordsOf(index))),
  );
  const requests = await accepted;
  await first.stop("SIGKILL");
  const second = await serveMillrace(words);
  const finished = await Promise.all(requests.map(({ path }) => finalStatus(second.ready.http, path)));
  const stored = await valuesOf(second.ready.http, 3);
  await second.stop();
  await folder.remove();

  for (const { json, text } of finished) {
    assert.equal(json.status, "completed", text);
    assert.deepEqual(json.progress, { total: RECORDS, done: RECORDS, failed: 0 });
  }
  const values = new Set(stored.values());
  for (let index = 0; index < REQUESTS; index++) {
    for (const { value } of recordsOf(index)) assert.ok(values.has(JSON.stringify(value)), `${value} is missing`);
  }
  // What the answers say is where the records are.
  for (const [index, { json }] of finished.entries()) {
    for (const [slot, { partition, offset }] of json.offsets.entries()) {
      assert.equal(stored.get(`${partition}-${offset}`), JSON.stringify(recordsOf(index)[slot]?.value));
    }
  }
});

test("over another Kafka a request that was accepted while it was away outlives the process, and is stored once", async () => {
  const folder = await temporaryFolder();
  const broker = await startBroker();
  const { server } = broker;
  const dataDir = broker.dataDir;
  const words = ["--brokers", server, "--data-dir", folder.path, "--http", "127.0.0.1:0"];
  const first = await serveMillrace(words);
  await httpCall("POST", `http://${first.ready.http}/api/topics`, '{"name":"orders","partitions":1}');
  await broker.broker.close();

  const { path } = await produceAsync(first.ready.http, recordsOf(0));
  await first.stop("SIGKILL");
  const again = await startBroker({ dataDir, port: Number(server.split(":")[1]) });
  const second = await serveMillrace(words);
  const { json } = await finalStatus(second.ready.http, path);
  const stored = await valuesOf(second.ready.http, 1);
  await second.stop();
  await again.close();
  await broker.close();
  await folder.remove();

  assert.equal(json.status, "completed", JSON.stringify(json));
  assert.deepEqual(
    [...stored.values()],
    recordsOf(0).map(({ value }) => JSON.stringify(value)),
  );
});

function recordsOf(request: number): { readonly value: string }[] {
  return Array.from({ length: RECORDS }, (_, record) => ({ value: `${request}:${record}` }));
}

async function produceAsync(http: string, records: readonly object[]): Promise<{ readonly path: string }> {
  const url = `http://${http}/api/topics/orders/produce?async=true`;
  const { status, headers, text } = await httpCall("POST", url, JSON.stringify({ records }));
  assert.equal(status, 202, text);
  return { path: headers.get("location") ?? "" };
}

function finalStatus(http: string, path: string) {
  return httpCall("GET", `http://${http}${path}?wait=20000`);
}

/** All values of the topic by "partition-offset". */
async function valuesOf(http: string, partitions: number): Promise<Map<string, string>> {
  const values = new Map<string, string>();
  for (let partition = 0; partition < partitions; partition++) {
    const url = `http://${http}/api/topics/orders/messages?partition=${partition}&limit=10000`;
    const { json } = await httpCall("GET", url);
    for (const { offset, value } of json) values.set(`${partition}-${offset}`, value);
  }
  return values;
}
