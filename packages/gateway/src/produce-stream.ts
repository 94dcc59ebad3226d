/** ProduceStream: NDJSON of any length, produced while it comes, in constant memory. */

import { PassThrough } from "node:stream";
import type { FastifyReply } from "fastify";
import { JSON_TYPE, RETRY_AFTER_S } from "./answers.ts";
import { type ErrorAnswer, errorAnswer, RequestError } from "./errors.ts";
import type { BodyStream } from "./limits/body-stream.ts";
import type { Intake, Share } from "./limits/intake.ts";
import { scanLineBlock } from "./produce-body.ts";
import { causeOf, failedEntry, failedStatus, outcomeEntry } from "./produce-response.ts";
import type { ProduceSettings } from "./produce-settings.ts";
import type { ProducerContext } from "./producer-context.ts";
import { offsetAt, RecordOutcomes } from "./record-outcomes.ts";
import { ScannedRecords } from "./scanned-records.ts";

/** Lines that are under way at once. Beyond it the sender waits: backpressure from the producer's buffer to the socket. */
const WINDOW_BYTES = 1024 * 1024;
/** Of the room for all requests, what is taken when a body that goes on waits for more: those that are whole cannot. */
const ROOM_TAKEN_LIMIT = 0.85;
/** How often, and how many times, it is looked whether others have left room. */
const ROOM_LOOK_MS = 50;
const ROOM_LOOKS_LIMIT = 40;
/** Failed records that a summary tells of one by one. */
const ERRORS_LIMIT = 1_000;
/** Results that a client has not read: then it is cut off. */
const UNREAD_LIMIT_BYTES = 1024 * 1024;
/** How long a client that was cut off has to read what was written for it. */
const LINGER_MS = 5_000;

const NEWLINE = 0x0a;
const EMPTY = Buffer.alloc(0);

export interface ProduceStreamParts {
  readonly topic: string;
  readonly settings: ProduceSettings;
  readonly context: ProducerContext;
  readonly intake: Intake;
  readonly requestId: string;
  /** Longest line. */
  readonly lineLimitBytes: number;
  readonly schedule: (delayMs: number, callback: () => void) => void;
  /** Where the pieces come from; null for a body that is held whole already. */
  readonly source: Pick<BodyStream, "keep" | "release" | "pause" | "abandon"> | null;
  readonly onRecords: (storedCount: number, failedCount: number) => void;
}

/** Some lines that were sent together. */
interface Block {
  readonly records: ScannedRecords;
  /** Of its first record, among all of the body. */
  readonly firstIndex: number;
  /** The lines, and what is known of each record. */
  readonly sizeBytes: number;
}

interface PartitionRange {
  firstOffset: bigint;
  lastOffset: bigint;
  records: number;
}

export class ProduceStream {
  readonly #parts: ProduceStreamParts;
  readonly #ranges = new Map<number, PartitionRange>();
  readonly #errors: string[] = [];
  /** Where the results of each record go; null for a summary at the end. */
  #results: PassThrough | null = null;
  #reply: FastifyReply | null = null;
  /** Begin of a line whose end has not come. */
  #rest: Buffer[] = [];
  #restBytes = 0;
  #lineCount = 0;
  #recordCount = 0;
  #storedCount = 0;
  #failedCount = 0;
  #inFlightBytes = 0;
  /** What is held of the results. */
  readonly #unread: Share;
  /** Settles with the last block that was sent: they are settled in order. */
  #tail: Promise<void> = Promise.resolve();
  #onRoom: (() => void) | null = null;
  /** Why no more is read: no broker, no room, no time. */
  #broken: RecordOutcomes | null = null;
  #isCutOff = false;

  constructor(parts: ProduceStreamParts) {
    this.#parts = parts;
    this.#unread = parts.intake.open();
  }

  /** Answers once all lines have their fate; with results=each as soon as the first ones were found to be right. */
  async answer(chunks: AsyncIterator<Buffer>, reply: FastifyReply): Promise<FastifyReply> {
    if (!this.#parts.settings.isEach) {
      const failure = await failureOf(this.#consume(chunks));
      await this.#tail;
      if (failure !== null || this.#isOver) this.#parts.source?.abandon();
      return this.#sendSummary(failure, reply);
    }
    const results = new PassThrough();
    results.once("close", () => this.#parts.intake.close(this.#unread));
    this.#results = results;
    this.#reply = reply;
    const failure = await failureOf(this.#takeFirst(chunks));
    if (failure !== null && this.#recordCount === 0) {
      this.#parts.source?.abandon();
      throw failure;
    }
    void this.#answerEach(results, failure === null ? failureOf(this.#consume(chunks)) : Promise.resolve(failure));
    return reply.header("content-type", "application/x-ndjson").send(results);
  }

  /** Until there is a record: a body without one, or whose first line is wrong, is refused as any other. */
  async #takeFirst(chunks: AsyncIterator<Buffer>): Promise<void> {
    while (this.#recordCount === 0) {
      const next = await chunks.next();
      if (next.done !== true) {
        await this.#take(next.value);
        continue;
      }
      await this.#takeRest();
      if (this.#recordCount === 0) throw new RequestError("NO_RECORDS", "no records to produce");
    }
  }

  async #answerEach(results: PassThrough, ended: Promise<unknown>): Promise<void> {
    // Its reader went away; what is under way is stored all the same.
    results.on("error", () => {});
    const failure = await ended;
    await this.#tail;
    if (failure !== null || this.#isOver) this.#parts.source?.abandon();
    const last = this.#lastLine(failure);
    results.end(last === null ? undefined : `${last}\n`);
    if (this.#isCutOff) this.#parts.schedule(LINGER_MS, () => this.#reply?.raw.destroy());
  }

  async #consume(chunks: AsyncIterator<Buffer>): Promise<void> {
    for (let next = await chunks.next(); next.done !== true; next = await chunks.next()) {
      await this.#take(next.value);
      if (this.#isOver) return;
    }
    await this.#takeRest();
  }

  /** The last line, where nothing ends it. */
  async #takeRest(): Promise<void> {
    await this.#send(this.#withRest(EMPTY));
  }

  get #isOver(): boolean {
    return this.#broken !== null || this.#isCutOff;
  }

  /** Sends the whole lines that there are now, and waits while too much is under way. */
  async #take(chunk: Buffer): Promise<void> {
    const end = chunk.lastIndexOf(NEWLINE) + 1;
    if (end === 0) {
      this.#keep(chunk);
      return;
    }
    const block = this.#withRest(chunk.subarray(0, end));
    if (end < chunk.length) this.#keep(chunk.subarray(end));
    await this.#send(block);
  }

  /** These bytes, behind those that were kept of their line. */
  #withRest(bytes: Buffer): Buffer {
    if (this.#restBytes === 0) return bytes;
    const whole = Buffer.concat([...this.#rest, bytes]);
    this.#parts.source?.release(this.#restBytes);
    this.#rest = [];
    this.#restBytes = 0;
    return whole;
  }

  #keep(chunk: Buffer): void {
    this.#parts.source?.keep(chunk.length);
    this.#rest.push(chunk);
    this.#restBytes += chunk.length;
    if (this.#restBytes <= this.#parts.lineLimitBytes) return;
    const message = `line ${this.#lineCount + 1} is longer than ${this.#parts.lineLimitBytes} bytes`;
    throw new RequestError("BODY_TOO_LARGE", message);
  }

  async #send(lines: Buffer): Promise<void> {
    await this.#waitForRoom();
    const records = new ScannedRecords();
    const before = { lineCount: this.#lineCount, recordCount: this.#recordCount };
    try {
      scanLineBlock(lines, Number.MAX_SAFE_INTEGER, before, records);
    } finally {
      // What stands before a line that is wrong is stored: lines before these are already.
      this.#produce(lines, records);
    }
    this.#lineCount += countLines(lines);
  }

  /** Until enough of this body's lines have their fate; where others take the room, of all of them, and some time longer. */
  async #waitForRoom(): Promise<void> {
    const { intake, source, schedule } = this.#parts;
    for (let lookCount = 0; lookCount < ROOM_LOOKS_LIMIT; ) {
      const isShort = intake.bytesFill > ROOM_TAKEN_LIMIT;
      if (this.#inFlightBytes <= (isShort ? 0 : WINDOW_BYTES)) {
        if (!isShort) return;
        lookCount += 1;
        schedule(ROOM_LOOK_MS, () => this.#lookAgain());
      }
      source?.pause();
      await new Promise<void>((resolve) => {
        this.#onRoom = resolve;
      });
    }
  }

  #lookAgain(): void {
    this.#onRoom?.();
    this.#onRoom = null;
  }

  #produce(lines: Buffer, records: ScannedRecords): void {
    if (records.length === 0) return;
    const { context, intake } = this.#parts;
    const sizeBytes = lines.length + records.sizeBytes + RecordOutcomes.sizeBytes(records.length);
    const block: Block = { records, firstIndex: this.#recordCount, sizeBytes };
    this.#recordCount += records.length;
    const share = intake.open();
    intake.receive(share, sizeBytes);
    this.#inFlightBytes += sizeBytes;
    const produced = context.produceRecords(lines, records);
    this.#tail = Promise.all([produced, this.#tail]).then(([outcomes]) => {
      intake.close(share);
      this.#settle(block, outcomes);
    });
  }

  #settle(block: Block, outcomes: RecordOutcomes): void {
    this.#inFlightBytes -= block.sizeBytes;
    this.#storedCount += outcomes.storedCount;
    this.#failedCount += outcomes.failedCount;
    this.#parts.onRecords(outcomes.storedCount, outcomes.failedCount);
    if (causeOf(outcomes) !== null) this.#broken ??= outcomes;
    if (this.#results === null) this.#summarize(block, outcomes);
    else this.#writeResults(this.#results, block, outcomes);
    this.#lookAgain();
  }

  #summarize({ records, firstIndex }: Block, outcomes: RecordOutcomes): void {
    for (let slot = 0; slot < records.length; slot++) {
      const receipt = outcomes.receipt(slot);
      if (receipt !== null) this.#extendRange(receipt.partition, offsetAt(receipt, outcomes.place(slot)));
      const failure = outcomes.failure(slot);
      if (failure === null || this.#errors.length >= ERRORS_LIMIT) continue;
      this.#errors.push(failedEntry(failure, records, slot, firstIndex + slot));
    }
  }

  #extendRange(partition: number, offset: bigint): void {
    const range = this.#ranges.get(partition);
    if (range === undefined) {
      this.#ranges.set(partition, { firstOffset: offset, lastOffset: offset, records: 1 });
      return;
    }
    range.records += 1;
    if (offset < range.firstOffset) range.firstOffset = offset;
    if (offset > range.lastOffset) range.lastOffset = offset;
  }

  #writeResults(results: PassThrough, { records, firstIndex }: Block, outcomes: RecordOutcomes): void {
    if (this.#isCutOff || results.destroyed) return;
    const { isDetailed } = this.#parts.settings;
    let lines = "";
    for (let slot = 0; slot < records.length; slot++) {
      lines += `${outcomeEntry(records, slot, outcomes, isDetailed, firstIndex)}\n`;
    }
    results.write(lines);
    const unreadBytes = results.readableLength + results.writableLength + (this.#reply?.raw.writableLength ?? 0);
    if (unreadBytes > UNREAD_LIMIT_BYTES || !this.#isRoomFor(unreadBytes)) this.#isCutOff = true;
  }

  /** Whether so much may be held for one who does not read; together they may hold what all requests may. */
  #isRoomFor(unreadBytes: number): boolean {
    try {
      this.#parts.intake.resize(this.#unread, unreadBytes);
      return true;
    } catch {
      return false;
    }
  }

  #sendSummary(failure: unknown, reply: FastifyReply): FastifyReply {
    if (failure === null && this.#recordCount === 0) throw new RequestError("NO_RECORDS", "no records to produce");
    // Nothing came of it, and nothing must be told beside the error.
    if (failure !== null && this.#recordCount === 0) throw failure;
    const { status, isRetriable, errorJson } = this.#conclusion(failure);
    const ranges = [...this.#ranges].sort(([a], [b]) => a - b).map(rangeJson);
    const fields = [
      ...(errorJson === null ? [] : [errorJson]),
      ...this.#counts(),
      `"partitions":[${ranges.join(",")}]`,
      `"errors":[${this.#errors.join(",")}]`,
    ];
    if (isRetriable) reply.header("retry-after", RETRY_AFTER_S);
    return reply
      .code(status)
      .header("content-type", JSON_TYPE)
      .send(`{${fields.join(",")}}`);
  }

  #counts(): string[] {
    return [
      `"topic":${JSON.stringify(this.#parts.topic)}`,
      `"succeeded":${this.#storedCount}`,
      `"failed":${this.#failedCount}`,
    ];
  }

  #conclusion(failure: unknown): { status: number; isRetriable: boolean; errorJson: string | null } {
    const { isStrict } = this.#parts.settings;
    if (failure !== null) {
      const answer = errorAnswer(failure, this.#parts.requestId);
      return { status: answer.status, isRetriable: answer.isRetriable, errorJson: membersOf(answer) };
    }
    if (this.#broken !== null) {
      const cause = causeOf(this.#broken);
      const { status, isRetriable } = failedStatus(this.#broken, isStrict);
      const answer = errorAnswer(cause, this.#parts.requestId);
      return { status, isRetriable, errorJson: membersOf(answer) };
    }
    if (this.#failedCount === 0 || !isStrict) return { status: 200, isRetriable: false, errorJson: null };
    return { status: this.#storedCount > 0 ? 207 : 422, isRetriable: false, errorJson: null };
  }

  /** What ends the lines of results, if it was not the end of the body. */
  #lastLine(failure: unknown): string | null {
    if (this.#isCutOff) {
      const message = `${this.#unread.sizeBytes} bytes of results were not read, and there is room for no more`;
      const { body } = errorAnswer(new RequestError("RESULTS_NOT_READ", message), this.#parts.requestId);
      return `{${JSON.stringify(body).slice(1, -1)},${this.#counts().join(",")}}`;
    }
    const { errorJson } = this.#conclusion(failure);
    return errorJson === null ? null : `{${errorJson},${this.#counts().join(",")}}`;
  }
}

/** What the promise was rejected with; null if it was not. */
function failureOf(promise: Promise<void>): Promise<unknown> {
  return promise.then(
    () => null,
    (error: unknown) => error,
  );
}

function membersOf({ body }: ErrorAnswer): string {
  return JSON.stringify(body).slice(1, -1);
}

function rangeJson([partition, { firstOffset, lastOffset, records }]: [number, PartitionRange]): string {
  return `{"partition":${partition},"firstOffset":${firstOffset},"lastOffset":${lastOffset},"records":${records}}`;
}

function countLines(block: Buffer): number {
  let count = 0;
  for (let at = block.indexOf(NEWLINE); at >= 0; at = block.indexOf(NEWLINE, at + 1)) count += 1;
  return count;
}
