/** Connections: how many may be open, which of them were never used, and what is being answered on the others. */

import type { Clock } from "@millrace/base";
import type { FastifyInstance, RawReplyDefaultExpression, RawRequestDefaultExpression } from "fastify";

type Server = FastifyInstance["server"];
type Socket = RawRequestDefaultExpression["socket"];

/** Whoever connects is about to send something; browsers also connect just in case, and then send nothing. */
const UNUSED_MS = 1_000;

export interface ConnectionsParts {
  readonly clock: Clock;
  readonly limit: number;
}

export class Connections {
  readonly #parts: ConnectionsParts;
  /** Connections on which no request has begun, and since when. */
  readonly #unused = new Map<Socket, number>();
  /** The newest answer of each connection, begun or done. */
  readonly #answers = new Map<Socket, RawReplyDefaultExpression>();
  #count = 0;

  constructor(parts: ConnectionsParts) {
    this.#parts = parts;
  }

  /** isTls: requests come on the sockets of secureConnection. refuse: told of each connection beyond the limit. */
  watch(server: Server, isTls: boolean, refuse: (socket: Socket) => void): void {
    server.on("connection", (socket) => {
      this.#count += 1;
      socket.once("close", () => {
        this.#count -= 1;
      });
      if (this.#count > this.#parts.limit) refuse(socket);
    });
    server.on(isTls ? "secureConnection" : "connection", (socket: Socket) => {
      this.#unused.set(socket, this.#parts.clock.nowMs());
      socket.once("close", () => {
        this.#unused.delete(socket);
        this.#answers.delete(socket);
      });
    });
    server.on("request", (request, answer) => {
      this.#unused.delete(request.socket);
      this.#answers.set(request.socket, answer);
    });
  }

  /**
   * Has every answer under way say that its connection ends with it. Without that word its client would have sent the
   * next request before it hears of the end, and could not know what became of it.
   */
  endWithAnswers(): void {
    for (const answer of this.#answers.values()) if (!answer.headersSent) answer.setHeader("connection", "close");
  }

  /** Node counts these as in use, as a request may be on its way, and would wait for them. */
  closeUnused(): void {
    const nowMs = this.#parts.clock.nowMs();
    for (const [socket, sinceMs] of this.#unused) if (nowMs - sinceMs >= UNUSED_MS) socket.destroy();
  }
}
