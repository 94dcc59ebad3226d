/** ClientCertificates: who the clients are that showed a certificate of an authority of ours. */

import { showsUntrustedCertificate, trustedSubject } from "@millrace/base";
import type { FastifyInstance, FastifyRequest } from "fastify";
import { type Principal, scopes } from "./principal.ts";

export class ClientCertificates {
  /** By connection: the certificate is read once, and goes with it. */
  readonly #principals = new WeakMap<object, Principal>();

  /** Closes connections whose certificate is of nobody we know, before a request is read from them. */
  watch(server: FastifyInstance["server"]): void {
    server.prependListener("secureConnection", (socket) => {
      if (showsUntrustedCertificate(socket)) {
        socket.destroy();
        return;
      }
      const subject = trustedSubject(socket);
      if (subject !== null) this.#principals.set(socket, principalOf(subject));
    });
  }

  /** Null for a client that showed none. */
  of(request: FastifyRequest): Principal | null {
    return this.#principals.get(request.raw.socket) ?? null;
  }
}

/** Named as on the Kafka port. What the authority vouches for may do everything. */
function principalOf(subject: string): Principal {
  return { id: `User:${subject}`, name: subject, scopes, topicPrefixes: [] };
}
