/** The locks on the broker's doors: who may come in by which, and what it takes to show who one is. */

import {
  type Clock,
  type FileSystem,
  type Logger,
  type Network,
  type Random,
  TlsServerNetwork,
  type TlsServerOptions,
} from "@millrace/base";
import { KafkaError } from "@millrace/protocol";
import type { ResolvedBrokerOptions } from "../options.ts";
import { SaslSession } from "./sasl-session.ts";
import { SaslUsers } from "./sasl-users.ts";
import { parseUsers } from "./users-file.ts";
import { WatchedFiles } from "./watched-files.ts";

export interface SecurityParts {
  readonly options: ResolvedBrokerOptions;
  readonly fileSystem: FileSystem;
  readonly clock: Clock;
  readonly random: Random;
  readonly logger: Logger;
}

/** A way into the broker. inside: from this process, whose own hands nobody needs to check. */
export type Door = "plain" | "tls" | "inside";

export class Security {
  readonly #parts: SecurityParts;
  readonly #users: SaslUsers;
  readonly #watched: WatchedFiles[] = [];
  #tls: TlsServerOptions | null = null;

  /** Rejects with INVALID_CONFIG for files that cannot be used. */
  static async open(parts: SecurityParts): Promise<Security> {
    const security = new Security(parts);
    try {
      await security.#load();
      return security;
    } catch (error) {
      security.close();
      throw error;
    }
  }

  private constructor(parts: SecurityParts) {
    this.#parts = parts;
    this.#users = new SaslUsers(parts.random);
  }

  /** Where TLS clients come in; null without a certificate. */
  get tlsNetwork(): Network | null {
    if (this.#tls === null) return null;
    return new TlsServerNetwork(() => this.#tlsOptions());
  }

  userNames(): string[] {
    return this.#users.names();
  }

  /** A session for a connection that has to log in; null for one that has not. */
  saslSessionFor(door: Door): SaslSession | null {
    const { options, clock, random } = this.#parts;
    const {
      saslOn,
      saslMechanisms: mechanisms,
      saslFailureDelayMs: failureDelayMs,
      saslSessionMs: sessionMs,
    } = options;
    const hasUsers = options.saslUsers !== null || options.saslUsersFile !== null;
    if (!hasUsers || door === "inside" || (door === "plain" && saslOn === "tls")) return null;
    return new SaslSession({ users: this.#users, mechanisms, clock, random, failureDelayMs, sessionMs });
  }

  /** May be called twice. */
  close(): void {
    for (const files of this.#watched.splice(0)) files.close();
  }

  async #load(): Promise<void> {
    const { options } = this.#parts;
    const { saslUsers, saslUsersFile, kafkaTlsCert, kafkaTlsKey, kafkaTlsClientCa } = options;
    if (saslUsersFile === null) await this.#users.replace(saslUsers ?? {});
    else {
      await this.#watch([saslUsersFile], ([bytes]) =>
        this.#users.replace({ ...saslUsers, ...parseUsers(bytes ?? Buffer.alloc(0), saslUsersFile) }),
      );
    }
    if (kafkaTlsCert === null || kafkaTlsKey === null) return;
    const paths = [kafkaTlsCert, kafkaTlsKey, ...(kafkaTlsClientCa === null ? [] : [kafkaTlsClientCa])];
    await this.#watch(paths, ([cert, key, clientCa]) => {
      if (cert === undefined || key === undefined) return;
      this.#tls = { cert, key, clientCa: clientCa ?? null, clientAuth: options.kafkaTlsClientAuth };
    });
  }

  async #watch(paths: readonly string[], apply: (contents: readonly Buffer[]) => void | Promise<void>): Promise<void> {
    const { fileSystem, clock, logger, options } = this.#parts;
    const files = { paths, fileSystem, clock, logger, intervalMs: options.secretsCheckIntervalMs, apply };
    this.#watched.push(await WatchedFiles.open(files));
  }

  #tlsOptions(): TlsServerOptions {
    if (this.#tls === null) throw new KafkaError("INVALID_CONFIG", "there is no certificate");
    return this.#tls;
  }
}
