import assert from "node:assert/strict";
import { Readable } from "node:stream";
import { test } from "node:test";
import { SECOND_MS, VirtualClock } from "@millrace/base";
import { BodyStream } from "./body-stream.ts";
import { Intake } from "./intake.ts";

/** A body that has sent its first piece, which is kept, and has been silent since. */
async function stalled() {
  const clock = new VirtualClock();
  const intake = new Intake({ clock, requestLimit: 10, limitBytes: 1_000 });
  const payload = new Readable({ read: () => {} });
  payload.push(Buffer.alloc(500));
  const share = intake.open();
  const parts = { clock, intake, share, payload, timeoutMs: 60 * SECOND_MS, limitBytes: 1_000, onBytes: () => {} };
  const body = new BodyStream(parts);
  const chunks = body.chunks(undefined);
  const first = await chunks.next();
  body.keep(first.done === true ? 0 : first.value.length);
  await clock.advance(2 * SECOND_MS);
  const takeRoom = () => intake.receivePart(intake.open(), 700, () => {});
  return { body, chunks, intake, payload, takeRoom };
}

const UPLOAD_STALLED = { code: "UPLOAD_STALLED" };

test("a body that stalled ends where it is waited for, when others need the room", async () => {
  const { chunks, takeRoom } = await stalled();
  const next = chunks.next();

  takeRoom();

  await assert.rejects(next, UPLOAD_STALLED);
});

test("a body that stalled while nobody waited for more of it ends with the next piece, and keeps nothing uncounted", async () => {
  const { body, chunks, intake, payload, takeRoom } = await stalled();

  takeRoom();
  payload.push(Buffer.alloc(400));

  assert.throws(() => body.keep(400), UPLOAD_STALLED);
  await assert.rejects(chunks.next(), UPLOAD_STALLED);
  assert.equal(intake.sizeBytes, 700);
});
