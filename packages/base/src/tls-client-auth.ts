/** What a TLS server does about the certificates of its clients, in the words of Kafka's ssl.client.auth. */

import type { TLSSocket } from "node:tls";

/** none: not asked for. requested: asked for, and a client may come without. required: nobody comes in without. */
export const clientAuthModes = ["none", "requested", "required"] as const;
export type ClientAuth = (typeof clientAuthModes)[number];

/** The part of a TLS server's options that asks for certificates. */
export function clientAuthOptions(clientAuth: ClientAuth) {
  return { requestCert: clientAuth !== "none", rejectUnauthorized: clientAuth === "required" } as const;
}

/**
 * Whether a certificate was shown that leads up to no authority of ours.
 *
 * Java ends the handshake of such a client, whether it had to show one or not. Node does so only where one is required;
 * elsewhere it is for the listener of secureConnection to close the socket.
 */
export function showsUntrustedCertificate(socket: TLSSocket): boolean {
  return !socket.authorized && socket.getPeerX509Certificate() !== undefined;
}

/** The name in the client's certificate as RFC 2253 writes it, "CN=alice,O=Example"; null for none that is trusted. */
export function trustedSubject(socket: TLSSocket): string | null {
  const subject = socket.authorized ? socket.getPeerX509Certificate()?.subject : undefined;
  if (subject === undefined) return null;
  return subject
    .split("\n")
    .reverse()
    .map((part) => part.replace(/[,+"\\<>;]/g, (special) => `\\${special}`))
    .join(",");
}
