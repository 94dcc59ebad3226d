import assert from "node:assert/strict";
import { test } from "node:test";
import { VirtualClock } from "@millrace/base";
import type { ConsumedRecord } from "@millrace/client";
import { Follower } from "./follower.ts";
import { Intake } from "./limits/intake.ts";
import { Turns } from "./limits/turns.ts";

const VALUE = Buffer.alloc(100);
/** What a record of these tests counts as. */
const RECORD_BYTES = 500;

/** A partition of so many records, of which a read gives one; at the end it waits. */
class FakeReader {
  readonly partition: number;
  readonly highWatermark: bigint;
  position = 0n;
  readCount = 0;
  isClosed = false;

  constructor(partition: number, recordCount: bigint) {
    this.partition = partition;
    this.highWatermark = recordCount;
  }

  seek(offset: bigint): void {
    this.position = offset;
  }

  async read({ signal }: { signal?: AbortSignal } = {}): Promise<ConsumedRecord[]> {
    signal?.throwIfAborted();
    if (this.position >= this.highWatermark) {
      return new Promise((_, reject) => signal?.addEventListener("abort", () => reject(signal.reason)));
    }
    this.readCount += 1;
    const { partition, position: offset } = this;
    this.position += 1n;
    return [{ topic: "orders", partition, offset, timestamp: 0, key: null, value: VALUE, headers: [] }];
  }

  async close(): Promise<void> {
    this.isClosed = true;
  }
}

interface FollowOptions {
  readonly limitBytes?: number;
  readonly intake?: Intake;
  /** What of each partition was there when the tail began. */
  readonly end?: bigint;
  readonly evict?: () => void;
}

function follow(clock: VirtualClock, readers: FakeReader[], options: FollowOptions = {}) {
  const controller = new AbortController();
  const intake = options.intake ?? new Intake({ clock, requestLimit: 10, limitBytes: options.limitBytes ?? 1_000_000 });
  const follower = new Follower({
    clock,
    partitions: readers.map((reader) => ({ reader, start: 0n, end: options.end ?? reader.highWatermark })),
    signal: controller.signal,
    quietMs: 1_000,
    catchUps: new Turns({ clock, concurrency: 8, maxWaitMs: Number.POSITIVE_INFINITY }),
    intake,
    evict: options.evict ?? (() => {}),
  });
  return { pieces: follower.pieces(), intake, controller };
}

test("what is there is read no further than one piece ahead of what is taken", async () => {
  const clock = new VirtualClock();
  const readers = [0, 1, 2].map((partition) => new FakeReader(partition, 100n));
  const { pieces, intake } = follow(clock, readers);

  await pieces.next();
  await clock.advance(60_000);
  const readCount = readers.reduce((count, reader) => count + reader.readCount, 0);

  assert.equal(readCount, 2);
  assert.equal(intake.sizeBytes, 2 * RECORD_BYTES);
  await pieces.return();
  assert.equal(intake.sizeBytes, 0);
  assert.ok(readers.every(({ isClosed }) => isClosed));
});

test("what came while nobody took it is given all the same, in the order of its partition", async () => {
  const clock = new VirtualClock();
  const readers = [0, 1, 2].map((partition) => new FakeReader(partition, 20n));
  // It was not there when the tail began: a fetch waits for it in each partition.
  const { pieces } = follow(clock, readers, { end: 0n });

  const offsets = new Map<number, bigint[]>();
  for (let count = 0; count < 60; count++) {
    const { value: piece } = await pieces.next();
    for (const { partition, offset } of piece ?? [])
      offsets.set(partition, [...(offsets.get(partition) ?? []), offset]);
  }

  const all = Array.from({ length: 20 }, (_, index) => BigInt(index));
  assert.deepEqual([offsets.get(0), offsets.get(1), offsets.get(2)], [all, all, all]);
  await pieces.return();
});

test("a tail whose client takes nothing makes room for one whose client does", async () => {
  const clock = new VirtualClock();
  const intake = new Intake({ clock, requestLimit: 10, limitBytes: 3 * RECORD_BYTES });
  let evictedCount = 0;
  const stalled = follow(clock, [new FakeReader(0, 100n)], { intake, evict: () => (evictedCount += 1) });
  await stalled.pieces.next();
  await clock.advance(2_000);

  const other = follow(clock, [new FakeReader(0, 100n)], { intake });
  const taken = await other.pieces.next();

  assert.equal(taken.value?.length, 1);
  assert.equal(evictedCount, 1);
  await other.pieces.return();
});

test("a tail that finds no room goes on when there is some", async () => {
  const clock = new VirtualClock();
  const intake = new Intake({ clock, requestLimit: 10, limitBytes: 2 * RECORD_BYTES });
  const other = intake.open();
  intake.receive(other, 2 * RECORD_BYTES);
  const { pieces } = follow(clock, [new FakeReader(0, 1n)], { intake });

  const next = pieces.next();
  await clock.advance(500);
  const heldBytes = intake.sizeBytes;
  intake.close(other);
  await clock.advance(500);

  assert.equal(heldBytes, 2 * RECORD_BYTES);
  assert.equal((await next).value?.length, 1);
  await pieces.return();
});

test("records that are more than there is room for come all the same, one piece at a time", async () => {
  const clock = new VirtualClock();
  const { pieces, intake } = follow(clock, [new FakeReader(0, 3n)], { limitBytes: RECORD_BYTES });

  const offsets: (bigint | undefined)[] = [];
  for (let count = 0; count < 3; count++) {
    const next = pieces.next();
    await clock.advance(500);
    offsets.push((await next).value?.[0]?.offset);
  }

  assert.deepEqual(offsets, [0n, 1n, 2n]);
  await pieces.return();
  assert.equal(intake.sizeBytes, 0);
});

test("a tail that has nothing new says so, and ends when its signal aborts", async () => {
  const clock = new VirtualClock();
  const { pieces, controller } = follow(clock, [new FakeReader(0, 0n)]);

  const quiet = pieces.next();
  await clock.advance(1_000);
  const ended = pieces.next();
  controller.abort();

  assert.equal((await quiet).value, null);
  assert.equal((await ended).done, true);
});
