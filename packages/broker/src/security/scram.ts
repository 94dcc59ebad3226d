/** SCRAM as a server sees it: what is kept of a password, and the steps of one exchange. */

import { createHash, createHmac, pbkdf2, timingSafeEqual } from "node:crypto";
import { promisify } from "node:util";
import type { Random } from "@millrace/base";
import { KafkaError } from "@millrace/protocol";

const scramHashes = { "SCRAM-SHA-256": "sha256", "SCRAM-SHA-512": "sha512" } as const;

export type ScramMechanism = keyof typeof scramHashes;

/** What a server keeps: enough to check a password, not enough to log in with. Source: RFC 5802. */
export interface ScramCredential {
  readonly salt: Buffer;
  readonly iterations: number;
  readonly storedKey: Buffer;
  readonly serverKey: Buffer;
}

/** As many as Kafka's own tool takes unless told; RFC 7677 asks for no fewer. */
export const ITERATIONS = 4096;
const NONCE_BYTES = 24;

const deriveKey = promisify(pbkdf2);

/** The password is used as it is: Kafka does not prepare it (SASLprep) either. */
export async function deriveCredential(
  mechanism: ScramMechanism,
  password: string,
  salt: Buffer,
): Promise<ScramCredential> {
  const hash = scramHashes[mechanism];
  const salted = await deriveKey(password, salt, ITERATIONS, createHash(hash).digest().length, hash);
  const clientKey = createHmac(hash, salted).update("Client Key").digest();
  return {
    salt,
    iterations: ITERATIONS,
    storedKey: createHash(hash).update(clientKey).digest(),
    serverKey: createHmac(hash, salted).update("Server Key").digest(),
  };
}

/** Whether two credentials of the same salt are of the same password, in a time that does not tell how alike they are. */
export function isSamePassword(one: ScramCredential, other: ScramCredential): boolean {
  return timingSafeEqual(one.storedKey, other.storedKey);
}

interface FirstMessages {
  readonly username: string;
  /** What precedes the client's first message: no channel binding. */
  readonly gs2Header: string;
  readonly clientFirst: string;
  readonly serverFirst: string;
  readonly nonce: string;
  readonly credential: ScramCredential;
}

/**
 *     client  n,,n=USER,r=CLIENT_NONCE
 *     server  r=CLIENT_NONCE+SERVER_NONCE,s=SALT,i=ITERATIONS
 *     client  c=biws,r=NONCES,p=PROOF
 *     server  v=SIGNATURE
 *
 * Source: RFC 5802, 5 and 7.
 */
export class ScramExchange {
  readonly #mechanism: ScramMechanism;
  readonly #random: Random;
  readonly #credentialOf: (username: string) => ScramCredential;
  #first: FirstMessages | null = null;

  /** credentialOf: gives one for any name; nobody knows the password of those who are not there. */
  constructor(mechanism: ScramMechanism, random: Random, credentialOf: (username: string) => ScramCredential) {
    this.#mechanism = mechanism;
    this.#random = random;
    this.#credentialOf = credentialOf;
  }

  /** Returns the answer, and with the last one the user's name. Throws KafkaError SASL_AUTHENTICATION_FAILED. */
  step(message: string): { readonly answer: string; readonly username: string | null } {
    if (this.#first === null) {
      this.#first = this.#begin(message);
      return { answer: this.#first.serverFirst, username: null };
    }
    return { answer: this.#finish(message, this.#first), username: this.#first.username };
  }

  #begin(message: string): FirstMessages {
    const match = /^((?:n|y),(?:a=([^,]*))?,)(n=([^,]+),r=([\x21-\x2b\x2d-\x7e]+)(?:,.*)?)$/.exec(message);
    const [, gs2Header, authorizationName, clientFirst, encodedName, clientNonce] = match ?? [];
    if (gs2Header === undefined || clientFirst === undefined || encodedName === undefined) {
      throw refused(`${this.#mechanism}: the client's first message is malformed`);
    }
    const username = decodeName(encodedName);
    if (authorizationName !== undefined && decodeName(authorizationName) !== username) {
      throw refused(`${this.#mechanism}: nobody may act for another user`);
    }
    const credential = this.#credentialOf(username);
    const nonce = `${clientNonce}${this.#random.bytes(NONCE_BYTES).toString("base64url")}`;
    const serverFirst = `r=${nonce},s=${credential.salt.toString("base64")},i=${credential.iterations}`;
    return { username, gs2Header, clientFirst, serverFirst, nonce, credential };
  }

  #finish(message: string, first: FirstMessages): string {
    const match = /^(c=([^,]+),r=([^,]+)(?:,.*)?),p=([^,]+)$/.exec(message);
    const [, withoutProof = "", binding = "", nonce, proof = ""] = match ?? [];
    // The whole nonce, ours and the client's: a proof for another exchange must not do for this one (CVE-2024-56128).
    if (nonce !== first.nonce || Buffer.from(binding, "base64").toString() !== first.gs2Header) {
      throw refused(`${this.#mechanism}: the client's last message does not belong to its first`);
    }
    const hash = scramHashes[this.#mechanism];
    const { storedKey, serverKey } = first.credential;
    const signed = `${first.clientFirst},${first.serverFirst},${withoutProof}`;
    const signature = createHmac(hash, storedKey).update(signed).digest();
    const clientKey = xor(Buffer.from(proof, "base64"), signature);
    if (!timingSafeEqual(createHash(hash).update(clientKey).digest(), storedKey)) {
      throw refused(`invalid credentials with SASL mechanism ${this.#mechanism}`);
    }
    return `v=${createHmac(hash, serverKey).update(signed).digest("base64")}`;
  }
}

export function refused(reason: string): KafkaError {
  return new KafkaError("SASL_AUTHENTICATION_FAILED", `Authentication failed: ${reason}`);
}

function decodeName(name: string): string {
  return name.replaceAll("=2C", ",").replaceAll("=3D", "=");
}

/** As long as the second; what is missing of the first counts as zeros. */
function xor(first: Buffer, second: Buffer): Buffer {
  return Buffer.from(second.map((byte, index) => byte ^ (first[index] ?? 0)));
}
