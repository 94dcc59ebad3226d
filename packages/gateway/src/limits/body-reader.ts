/** BodyReader: a request's whole body as one buffer, within the limits, and only after the head was found to be good. */

import type { FastifyReply, FastifyRequest, RequestPayload } from "fastify";
import { RequestError } from "../errors.ts";
import type { Intake, Share } from "./intake.ts";

type RawRequest = FastifyRequest["raw"];
type RawReply = FastifyReply["raw"];

const EMPTY = Buffer.alloc(0);

export class BodyReader {
  readonly #intake: Intake;
  readonly #limitBytes: number;
  readonly #shares = new WeakMap<RawRequest, Share>();
  /** Requests whose sender waits to be told to go on (Expect: 100-continue). */
  readonly #waiting = new WeakMap<RawRequest, RawReply>();

  constructor(intake: Intake, limitBytes: number) {
    this.#intake = intake;
    this.#limitBytes = limitBytes;
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
    const share = this.#shares.get(request) ?? this.#intake.open();
    this.#intake.begin(share);
    reply.once("close", () => this.#intake.close(share));
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
      return;
    }
    this.#waiting.get(request)?.writeContinue();
    const intake = this.#intake;
    const share = intake.open();
    this.#shares.set(request, share);
    const chunks: Buffer[] = [];

    const settle = (error: Error | null, body?: Buffer) => {
      payload.off("data", onData).off("end", onEnd).off("error", onError).off("close", onClose);
      if (error === null) intake.complete(share);
      else {
        intake.close(share);
        payload.on("error", ignore).resume();
      }
      done(error, body);
    };
    const onData = (chunk: Buffer) => {
      try {
        if (share.sizeBytes + chunk.length > this.#limitBytes) throw this.#tooLarge();
        intake.receive(share, chunk.length);
      } catch (error) {
        settle(error instanceof Error ? error : new Error(String(error)));
        return;
      }
      chunks.push(chunk);
      if (share.sizeBytes !== declaredBytes) intake.awaitMore(share, settle);
    };
    const onEnd = () => {
      const [only = EMPTY] = chunks;
      settle(null, chunks.length > 1 ? Buffer.concat(chunks, share.sizeBytes) : only);
    };
    const onError = () => settle(incomplete());
    const onClose = () => settle(incomplete());
    payload.on("data", onData).on("end", onEnd).on("error", onError).on("close", onClose);
  }

  #tooLarge(): RequestError {
    return new RequestError("BODY_TOO_LARGE", `the body is larger than ${this.#limitBytes} bytes`);
  }
}

function incomplete(): RequestError {
  return new RequestError("REQUEST_INCOMPLETE", "the connection closed before the whole request had come");
}

function ignore(): void {}
