import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { test } from "node:test";
import { Producer } from "@millrace/client";
import { serveMillrace, temporaryFolder } from "@millrace/testing";

/** What the kernel is asked, in the order in which it is asked, by strace: proof that no answer goes out before its sync. */

const RECORDS = 20;
const CALLS = "pwrite64,pwritev,pwritev2,write,writev,fsync,fdatasync";
const TOPIC_LOG = /\/traced-0\/\d{20}\.log>/;

const isTraceable = spawnSync("strace", ["-qq", "-o", "/dev/null", "true"]).status === 0;

/** One line of a trace: a call as it begins or ends; most do both on one line. */
interface Step {
  readonly call: string;
  readonly file: string;
  readonly isBegin: boolean;
  readonly isEnd: boolean;
}

/** strace writes a call that another thread interrupts in two parts, and names the file only in the first. */
function stepsOf(trace: string): Step[] {
  const begun = new Map<string, { readonly call: string; readonly file: string }>();
  const steps: Step[] = [];
  for (const line of trace.split("\n")) {
    const [thread = ""] = line.split(" ", 1);
    const resumed = /<\.\.\. (\w+) resumed>/.test(line);
    const fresh = /^\d+ +(\w+)\(\d+<([^>]*>?)/.exec(line);
    const named = resumed ? begun.get(thread) : fresh === null ? undefined : { call: fresh[1] ?? "", file: line };
    if (named === undefined) continue;
    const isUnfinished = line.includes("<unfinished ...>");
    if (isUnfinished) begun.set(thread, named);
    steps.push({ ...named, isBegin: !resumed, isEnd: !isUnfinished });
  }
  return steps;
}

test("each record is written, synced and then answered, as the kernel sees it", {
  skip: isTraceable ? false : "strace is not here, or may not trace",
}, async () => {
  const folder = await temporaryFolder();
  const traceFile = join(folder.path, "trace");
  const server = await serveMillrace(
    ["--data-dir", join(folder.path, "data"), "--kafka", "127.0.0.1:0", "--http", "127.0.0.1:0"],
    {},
    ["strace", "-f", "-y", "-qq", "-s", "0", "-e", `trace=${CALLS}`, "-o", traceFile],
  );
  try {
    const producer = new Producer({ bootstrapServers: server.ready.kafka ?? "" });
    for (let index = 0; index < RECORDS; index++) {
      await producer.send({ topic: "traced", partition: 0, value: `${index}` });
    }
    await producer.close();
  } finally {
    process.kill(server.ready.pid, "SIGTERM");
    await server.ended;
  }

  const steps = stepsOf(await readFile(traceFile, "latin1"));
  await folder.remove();
  let written = 0;
  let covered = 0;
  let synced = 0;
  let answersBehindSync = 0;
  let answeredAt = 0;
  for (const { call, file, isBegin, isEnd } of steps) {
    if (TOPIC_LOG.test(file) && call.startsWith("pwrite") && isEnd) written += 1;
    if (TOPIC_LOG.test(file) && call.startsWith("f")) {
      if (isBegin) covered = written;
      if (isEnd) synced = covered;
    }
    if (file.includes("<socket:") && isBegin) {
      // The client waits for each answer, so nothing but what was synced can be on its way out.
      assert.equal(synced, written, `an answer went out with ${written} writes and ${synced} of them synced`);
      if (written > answeredAt) answersBehindSync += 1;
      answeredAt = written;
    }
  }
  assert.equal(written, RECORDS);
  assert.equal(answersBehindSync, RECORDS);
});
