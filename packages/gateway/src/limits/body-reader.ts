/** BodyReader: a request's whole body as one buffer, within the limits, and only after the head was found to be good. */

import { type Clock, SECOND_MS, type Timer } from "@millrace/base";
import type { FastifyReply, FastifyRequest, RequestPayload } from "fastify";
import { RequestError } from "../errors.ts";
import { abandon } from "./abandon.ts";
import { BodyStream } from "./body-stream.ts";
import type { Intake } from "./intake.ts";

type RawRequest = FastifyRequest["raw"];
type RawReply = FastifyReply["raw"];

const EMPTY = Buffer.alloc(0);

/** How often uploads are looked at for those that take too long. */
const SWEEP_MS = SECOND_MS;
const SWEEPS_PER_TIMEOUT = 4;
/**
 * A request that found no room hears of it so much later: readiness is off from the refusal on, and who asks for it now and
 * then is to see that before. It also slows down those who come back at once.
 */
const REFUSAL_DELAY_MS = 250;

export interface BodyReaderParts {
  readonly intake: Intake;
  readonly clock: Clock;
  readonly limitBytes: number;
  /** Longest that a whole body may take, and the longest silence in one that is streamed. */
  readonly timeoutMs: number;
}

/** A body that is being read. */
interface Upload {
  readonly startedAtMs: number;
  readonly giveUp: () => void;
}

export class BodyReader {
  readonly #parts: BodyReaderParts;
  readonly #intake: Intake;
  readonly #limitBytes: number;
  /** Oldest first. */
  readonly #uploads = new Set<Upload>();
  #sweepTimer: Timer | null = null;
  /** Requests whose sender waits to be told to go on (Expect: 100-continue). */
  readonly #waiting = new WeakMap<RawRequest, RawReply>();

  constructor(parts: BodyReaderParts) {
    this.#parts = parts;
    this.#intake = parts.intake;
    this.#limitBytes = parts.limitBytes;
  }

  /** The sender wants to hear from us before it sends the body. */
  expectContinue(request: RawRequest, reply: RawReply): void {
    this.#waiting.set(request, reply);
  }

  /**
   * Work on the request begins, with its body read if it has one; its share is given back when its answer is done or its
   * connection is gone. Throws RequestError OVERLOADED.
   */
  begin(request: RawRequest, reply: RawReply): void {
    // Its sender went away between the end of its body and now.
    if (reply.closed) return;
    const share = this.#intake.shareOf(request);
    this.#intake.begin(share);
    reply.once("close", () => this.#intake.close(share));
  }

  /** The body in pieces. onBytes: told of each that came. */
  stream(request: RawRequest, payload: RequestPayload, onBytes: (sizeBytes: number) => void): BodyStream {
    this.#waiting.get(request)?.writeContinue();
    const { clock, limitBytes, timeoutMs, intake } = this.#parts;
    const share = intake.shareOf(request);
    return new BodyStream({ payload, clock, timeoutMs, limitBytes, onBytes, intake, share });
  }

  /**
   * Calls back with the body, or with RequestError BODY_TOO_LARGE, OVERLOADED, UPLOAD_STALLED or REQUEST_INCOMPLETE.
   *
   * What comes after a refusal is read and thrown away, as a client that only sends would never see the answer.
   */
  read(request: RawRequest, payload: RequestPayload, done: (error: Error | null, body?: Buffer) => void): void {
    const declaredBytes = Number(request.headers["content-length"] ?? 0);
    if (declaredBytes > this.#limitBytes) {
      done(this.#tooLarge());
      abandon(payload, this.#parts.clock);
      return;
    }
    this.#waiting.get(request)?.writeContinue();
    const intake = this.#intake;
    const share = intake.shareOf(request);
    const chunks: Buffer[] = [];

    const upload: Upload = { startedAtMs: this.#parts.clock.nowMs(), giveUp: () => settle(this.#tooSlow()) };
    this.#watch(upload);
    let isSettled = false;
    const settle = (error: Error | null, body?: Buffer) => {
      // Nothing comes after the end but the close, so the listeners may stay: taking off four costs what adding them did.
      if (isSettled) return;
      isSettled = true;
      this.#uploads.delete(upload);
      chunks.length = 0;
      if (error === null) intake.complete(share);
      else {
        intake.close(share);
        abandon(payload.off("data", onData), this.#parts.clock);
      }
      if (error instanceof RequestError && error.code === "OVERLOADED") {
        this.#parts.clock.schedule(REFUSAL_DELAY_MS, () => done(error));
      } else done(error, body);
    };
    const onData = (chunk: Buffer) => {
      try {
        if (share.sizeBytes + chunk.length > this.#limitBytes) throw this.#tooLarge();
        if (share.sizeBytes + chunk.length === declaredBytes) intake.receive(share, chunk.length);
        else intake.receivePart(share, chunk.length, settle);
      } catch (error) {
        settle(error instanceof Error ? error : new Error(String(error)));
        return;
      }
      chunks.push(chunk);
    };
    const onEnd = () => {
      const [only = EMPTY] = chunks;
      settle(null, chunks.length > 1 ? Buffer.concat(chunks, share.sizeBytes) : only);
    };
    const onBreak = () => {
      if (!isSettled) settle(incomplete());
    };
    payload.on("data", onData).on("end", onEnd).on("error", onBreak).on("close", onBreak);
  }

  /** Node's own limit on a request's time would end streams that may go on. */
  #watch(upload: Upload): void {
    this.#uploads.add(upload);
    const { clock, timeoutMs } = this.#parts;
    this.#sweepTimer ??= clock.schedule(
      Math.min(SWEEP_MS, timeoutMs / SWEEPS_PER_TIMEOUT),
      () => {
        this.#sweepTimer = null;
        this.#sweep();
      },
      { background: true },
    );
  }

  #sweep(): void {
    const { clock, timeoutMs } = this.#parts;
    for (const upload of this.#uploads) {
      if (clock.nowMs() - upload.startedAtMs < timeoutMs) {
        this.#watch(upload);
        return;
      }
      upload.giveUp();
    }
  }

  #tooSlow(): RequestError {
    const message = `the request took longer to come than requestTimeoutMs (${this.#parts.timeoutMs}) allows`;
    return new RequestError("REQUEST_INCOMPLETE", message);
  }

  #tooLarge(): RequestError {
    return new RequestError("BODY_TOO_LARGE", `the body is larger than ${this.#limitBytes} bytes`);
  }
}

function incomplete(): RequestError {
  return new RequestError("REQUEST_INCOMPLETE", "the connection closed before the whole request had come");
}
