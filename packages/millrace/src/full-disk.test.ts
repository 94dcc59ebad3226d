import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { mkdirSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { after, before, suite, test } from "node:test";
import { formatAddress } from "@millrace/base";
import { Broker } from "@millrace/broker";
import { Admin, type ConsumedRecord, Producer, Reader, type RecordMetadata } from "@millrace/client";
import { type TemporaryFolder, temporaryFolder } from "@millrace/testing";

/** A full disk as the kernel makes one: a small filesystem, mounted for the test, which only root may do, on Linux. */

const DISK_MEBIBYTES = 32;
const BALLAST_BYTES = 12 * 1024 * 1024;
const VALUE_BYTES = 50_000;
const PLACE = { topic: "full", partition: 0 };

const kinds = {
  tmpfs: (_image: string, folder: string) =>
    run("mount", "-t", "tmpfs", "-o", `size=${DISK_MEBIBYTES}m`, "tmpfs", folder),
  "ext4 on a loop device": (image: string, folder: string) => {
    run("truncate", "-s", `${DISK_MEBIBYTES}M`, image);
    // Nothing is kept back for root, who runs this.
    run("mkfs.ext4", "-q", "-m", "0", image);
    run("mount", "-o", "loop", image, folder);
  },
};

function run(program: string, ...words: readonly string[]): void {
  execFileSync(program, words, { stdio: "pipe" });
}

for (const [kind, mount] of Object.entries(kinds)) {
  suite(`a disk of ${kind} that fills up`, () => {
    let folder: TemporaryFolder;
    let disk: string;
    let broker: Broker;
    let producer: Producer;
    let port = 0;
    let whyNot: string | null = null;
    const acknowledged = new Map<bigint, string>();
    const server = () => formatAddress(broker.address);
    const ballast = () => join(disk, "ballast");
    const open = async () => {
      broker = await Broker.open({ dataDir: join(disk, "data"), port });
      ({ port } = broker.address);
    };
    const newProducer = () => new Producer({ bootstrapServers: server() });

    before(async () => {
      folder = await temporaryFolder();
      disk = join(folder.path, "disk");
      mkdirSync(disk);
      try {
        mount(join(folder.path, "image"), disk);
      } catch (error) {
        whyNot = `no filesystem can be mounted here: ${String(error).split("\n")[0]}`;
        return;
      }
      writeFileSync(ballast(), Buffer.alloc(BALLAST_BYTES));
      await open();
      producer = newProducer();
    });

    after(async () => {
      if (whyNot === null) {
        await producer.close({ timeoutMs: 0 }).catch(() => {});
        await broker.close();
        run("umount", disk);
      }
      await folder.remove();
    });

    /** The first failure of so many records that are sent at once; undefined if all are acknowledged. */
    async function send(count: number, by = producer): Promise<unknown> {
      const values = Array.from({ length: count }, (_, index) =>
        `${acknowledged.size + index}`.padEnd(VALUE_BYTES, "x"),
      );
      const sent: Promise<RecordMetadata>[] = values.map((value) => by.send({ ...PLACE, value }));
      let failure: unknown;
      for (const [index, end] of (await Promise.allSettled(sent)).entries()) {
        if (end.status === "rejected") failure ??= end.reason;
        else acknowledged.set(end.value.offset, values[index] ?? "");
      }
      return failure;
    }

    async function readAll(): Promise<ConsumedRecord[]> {
      const reader = new Reader({ bootstrapServers: server(), ...PLACE, maxWaitMs: 100 });
      const records: ConsumedRecord[] = [];
      do records.push(...(await reader.read()));
      while ((reader.position ?? 0n) < (reader.highWatermark ?? 0n));
      await reader.close();
      return records;
    }

    async function assertAllThere(): Promise<void> {
      const records = await readAll();
      for (const [index, { offset }] of records.entries()) assert.equal(offset, BigInt(index), "offsets are dense");
      for (const [offset, value] of acknowledged) {
        assert.equal(records[Number(offset)]?.value?.toString(), value, `record ${offset}`);
      }
      const values = records.map(({ value }) => value?.toString());
      assert.equal(new Set(values).size, values.length, "each is there once");
    }

    /** Sends until the disk is full; a producer that gives up soon tells when it is. */
    async function fill(): Promise<unknown> {
      const hasty = new Producer({ bootstrapServers: server(), requestTimeoutMs: 500, deliveryTimeoutMs: 2000 });
      try {
        for (;;) {
          const failure = await send(20, hasty);
          if (failure !== undefined) return failure;
        }
      } finally {
        await hasty.close({ timeoutMs: 0 }).catch(() => {});
      }
    }

    test("producers are refused with an error that is retried, and readers are served", async (context) => {
      if (whyNot !== null) return context.skip(whyNot);

      const failure = await fill();

      const codes: unknown[] = [];
      for (let error = failure; error instanceof Error; error = error.cause) codes.push(Reflect.get(error, "code"));
      assert.ok(codes.includes("KAFKA_STORAGE_ERROR"), `the codes are ${codes}`);
      assert.ok(acknowledged.size > 0);
      await assertAllThere();
    });

    test("a producer that waits goes on by itself when there is room again, and nothing is lost or doubled", async (context) => {
      if (whyNot !== null) return context.skip(whyNot);
      const patient = new Producer({ bootstrapServers: server(), deliveryTimeoutMs: 60_000 });

      const waiting = patient.send({ ...PLACE, value: "waited".padEnd(VALUE_BYTES, "w") });
      rmSync(ballast());
      const { offset } = await waiting;
      await patient.close();

      acknowledged.set(offset, "waited".padEnd(VALUE_BYTES, "w"));
      assert.equal(await send(50), undefined);
      await assertAllThere();
    });

    test("it closes and starts again while it is full", async (context) => {
      if (whyNot !== null) return context.skip(whyNot);
      await fill();

      await broker.close();
      await open();

      await assertAllThere();
    });

    test("room is made by deleting a topic, which does not come back", async (context) => {
      if (whyNot !== null) return context.skip(whyNot);
      const admin = new Admin({ bootstrapServers: server() });

      await producer.close({ timeoutMs: 0 }).catch(() => {});
      await admin.deleteTopics([PLACE.topic]);
      await broker.close();
      await open();

      assert.deepEqual(await admin.listTopics(), []);
      await admin.close();
      acknowledged.clear();
      producer = newProducer();
      assert.equal(await send(50), undefined);
      await assertAllThere();
    });
  });
}
