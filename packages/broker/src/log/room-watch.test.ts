import assert from "node:assert/strict";
import { test } from "node:test";
import { MemoryFileSystem, silentLogger, VirtualClock } from "@millrace/base";
import { RoomWatch } from "./room-watch.ts";

const MEBIBYTE = 1024 * 1024;

/** A disk whose room is what the test says. */
class Volume extends MemoryFileSystem {
  room = 0;

  override async freeBytes(): Promise<number> {
    return this.room;
  }
}

function watched() {
  const clock = new VirtualClock();
  const volume = new Volume();
  const seen: string[] = [];
  const watch = new RoomWatch({
    name: "orders-0",
    clock,
    logger: silentLogger,
    fileSystem: volume,
    directory: "/data",
    onRoom: (freeBytes) => seen.push(`room: ${freeBytes}`),
    onNoRoom: async () => {
      seen.push("no room");
    },
  });
  return { clock, volume, seen, watch };
}

test("a full disk is looked at until it has room for what did not fit, and no longer", async () => {
  const { clock, volume, seen, watch } = watched();
  watch.wait(MEBIBYTE);

  await clock.advance(1000);
  volume.room = MEBIBYTE;
  await clock.advance(1000);
  volume.room = 2 * MEBIBYTE;
  await clock.advance(10_000);

  assert.deepEqual(seen, ["no room", "no room", `room: ${2 * MEBIBYTE}`]);
});

test("a watch that was stopped tells nobody of room", async () => {
  const { clock, volume, seen, watch } = watched();
  watch.wait(MEBIBYTE);
  volume.room = 2 * MEBIBYTE;

  watch.stop();
  await clock.advance(10_000);

  assert.deepEqual(seen, []);
});
