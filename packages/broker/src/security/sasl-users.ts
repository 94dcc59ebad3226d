/** Who may log in, and with which password: all that is kept of one is what SCRAM needs to check it. */

import { createHmac } from "node:crypto";
import type { Random } from "@millrace/base";
import { deriveCredential, ITERATIONS, isSamePassword, type ScramCredential, type ScramMechanism } from "./scram.ts";

const SALT_BYTES = 16;
/** PLAIN is checked against it too: comparing texts would be quick for those who are not there, and slow for others. */
const PLAIN_CHECKED_AS: ScramMechanism = "SCRAM-SHA-256";

type Credentials = Readonly<Record<ScramMechanism, ScramCredential>>;

export class SaslUsers {
  readonly #random: Random;
  /** Makes credentials for names that are not there: the same ones whenever they are asked for. */
  readonly #secret: Buffer;
  #users: ReadonlyMap<string, Credentials> = new Map();
  /** What the credentials were made of, so that the same users need not be derived again. */
  #passwords: Readonly<Record<string, string>> = {};

  constructor(random: Random) {
    this.#random = random;
    this.#secret = random.bytes(32);
  }

  /** Replaces all users. Those whose passwords stay keep their credentials. */
  async replace(passwords: Readonly<Record<string, string>>): Promise<void> {
    const entries = Object.entries(passwords).map(async ([name, password]) => {
      const known = this.#passwords[name] === password ? this.#users.get(name) : undefined;
      return [name, known ?? (await this.#derive(password))] as const;
    });
    this.#users = new Map(await Promise.all(entries));
    this.#passwords = passwords;
  }

  names(): string[] {
    return [...this.#users.keys()];
  }

  /** Of somebody who is not there: one that no password fits, which takes as long to check. */
  credentialOf(username: string, mechanism: ScramMechanism): ScramCredential {
    return this.#users.get(username)?.[mechanism] ?? this.#madeUp(username, mechanism);
  }

  /** Takes as long for a user who is not there. */
  async isPasswordOf(username: string, password: string): Promise<boolean> {
    const credential = this.credentialOf(username, PLAIN_CHECKED_AS);
    const given = await deriveCredential(PLAIN_CHECKED_AS, password, credential.salt);
    return isSamePassword(given, credential);
  }

  async #derive(password: string): Promise<Credentials> {
    const salt = () => this.#random.bytes(SALT_BYTES);
    const [sha256, sha512] = await Promise.all([
      deriveCredential("SCRAM-SHA-256", password, salt()),
      deriveCredential("SCRAM-SHA-512", password, salt()),
    ]);
    return { "SCRAM-SHA-256": sha256, "SCRAM-SHA-512": sha512 };
  }

  #madeUp(username: string, mechanism: ScramMechanism): ScramCredential {
    const hash = mechanism === "SCRAM-SHA-256" ? "sha256" : "sha512";
    const bytes = (what: string) => createHmac(hash, this.#secret).update(`${what} ${username}`).digest();
    return {
      salt: bytes("salt").subarray(0, SALT_BYTES),
      iterations: ITERATIONS,
      storedKey: bytes("stored key"),
      serverKey: bytes("server key"),
    };
  }
}
