/** Proves to a broker who we are: SASL PLAIN, SCRAM and OAUTHBEARER. */

import { createHash, createHmac, pbkdf2, timingSafeEqual } from "node:crypto";
import { promisify } from "node:util";
import { never, type Random } from "@millrace/base";
import { type Api, errorByNumber, KafkaError, saslAuthenticateApi, saslHandshakeApi } from "@millrace/protocol";
import { AuthenticationError } from "../errors.ts";

export type ScramMechanism = "SCRAM-SHA-256" | "SCRAM-SHA-512";

export interface PasswordCredentials {
  readonly mechanism: "PLAIN" | ScramMechanism;
  readonly username: string;
  /** A function is asked for each connection, and again when its session is about to end. */
  readonly password: string | (() => string | Promise<string>);
}

export interface OauthToken {
  readonly value: string;
  /** Sent with the token (KIP-342): {"logicalCluster": "lkc-1"}. */
  readonly extensions?: Readonly<Record<string, string>>;
}

export interface OauthCredentials {
  readonly mechanism: "OAUTHBEARER";
  /** Asked for each connection, and again when its session is about to end. */
  token(): string | OauthToken | Promise<string | OauthToken>;
}

export type SaslOptions = PasswordCredentials | OauthCredentials;

/** What an authentication needs of the connection it runs on. */
export interface SaslSession {
  /** "host:port". */
  readonly broker: string;
  readonly random: Random;
  request<Request, RequestInput, Response, ResponseInput>(
    api: Api<Request, RequestInput, Response, ResponseInput>,
    body: RequestInput,
  ): Promise<Response>;
}

/** SaslAuthenticate carries the tokens only after a handshake of version 1 (KIP-152). */
export const SASL_HANDSHAKE_VERSION = 1;

/**
 * Resolves with the lifetime of the session in milliseconds; 0: no end (KIP-368).
 *
 * Rejects with AuthenticationError if the broker refuses, or does not know the password itself.
 */
export async function authenticate(session: SaslSession, options: SaslOptions): Promise<number> {
  const { mechanism } = options;
  const handshake = await session.request(saslHandshakeApi, { mechanism });
  if (handshake.errorCode !== 0) {
    const { code, retriable } = errorByNumber(handshake.errorCode);
    if (retriable) throw new KafkaError(code, `${session.broker}: SASL handshake: ${code}`);
    throw new AuthenticationError(
      code === "UNSUPPORTED_SASL_MECHANISM" ? code : "ILLEGAL_SASL_STATE",
      session.broker,
      `${code}: asked for ${mechanism}; the broker offers ${handshake.mechanisms.join(", ") || "none"}`,
    );
  }
  const exchange = new Exchange(session, mechanism);
  switch (mechanism) {
    case "PLAIN":
      await exchange.send(`\0${options.username}\0${await passwordOf(options)}`);
      break;
    case "SCRAM-SHA-256":
    case "SCRAM-SHA-512":
      await exchangeScram(exchange, mechanism, options, session.random);
      break;
    case "OAUTHBEARER":
      await exchangeToken(exchange, options);
      break;
    default:
      return never(mechanism);
  }
  return exchange.sessionLifetimeMs;
}

/** Tokens to and fro. */
class Exchange {
  /** As the last answer had it. */
  sessionLifetimeMs = 0;
  readonly #session: SaslSession;
  readonly #mechanism: string;

  constructor(session: SaslSession, mechanism: string) {
    this.#session = session;
    this.#mechanism = mechanism;
  }

  /** Sends a token and gives the broker's. */
  async send(token: string): Promise<string> {
    const response = await this.#session.request(saslAuthenticateApi, { authBytes: Buffer.from(token) });
    if (response.errorCode !== 0) {
      const { code, advice } = errorByNumber(response.errorCode);
      throw this.refused(`${code}: ${response.errorMessage ?? advice}`);
    }
    this.sessionLifetimeMs = Number(response.sessionLifetimeMs);
    return response.authBytes.toString();
  }

  refused(reason: string): AuthenticationError {
    return new AuthenticationError("SASL_AUTHENTICATION_FAILED", this.#session.broker, `${this.#mechanism}: ${reason}`);
  }
}

const SCRAM_HASHES = { "SCRAM-SHA-256": "sha256", "SCRAM-SHA-512": "sha512" } as const;
const NONCE_BYTES = 24;
/** RFC 7677 asks for 4096 at least; Kafka's client refuses less. */
const MIN_ITERATIONS = 4_096;
/** Half a second of one core. A broker that asks for more wants our time, not our proof. */
const MAX_ITERATIONS = 1_000_000;
/** base64 of the GS2 header "n,,": no channel binding. */
const NO_CHANNEL_BINDING = "biws";

const deriveKey = promisify(pbkdf2);

/**
 * Source: RFC 5802. Neither side sends the password: each proves that it knows a hash of it.
 *
 *     client  n,,n=USER,r=CLIENT_NONCE
 *     server  r=CLIENT_NONCE+SERVER_NONCE,s=SALT,i=ITERATIONS
 *     client  c=biws,r=NONCES,p=PROOF
 *     server  v=SIGNATURE
 *
 * The password is used as it is: Kafka does not prepare it (SASLprep) either.
 */
async function exchangeScram(
  exchange: Exchange,
  mechanism: ScramMechanism,
  credentials: PasswordCredentials,
  random: Random,
): Promise<void> {
  const hash = SCRAM_HASHES[mechanism];
  const hmac = (key: Buffer, text: string) => createHmac(hash, key).update(text).digest();
  const clientNonce = random.bytes(NONCE_BYTES).toString("base64");
  const clientFirst = `n=${escapeName(credentials.username)},r=${clientNonce}`;

  const serverFirst = await exchange.send(`n,,${clientFirst}`);
  const fields = scramFields(serverFirst);
  const nonce = fields.get("r") ?? "";
  const salt = Buffer.from(fields.get("s") ?? "", "base64");
  const iterations = Number(fields.get("i"));
  if (!nonce.startsWith(clientNonce) || nonce.length === clientNonce.length) {
    throw exchange.refused("the broker's nonce does not continue ours");
  }
  if (!(iterations >= MIN_ITERATIONS && iterations <= MAX_ITERATIONS)) {
    throw exchange.refused(`${fields.get("i")} iterations; expected ${MIN_ITERATIONS} to ${MAX_ITERATIONS}`);
  }

  const keyBytes = createHash(hash).digest().length;
  const salted = await deriveKey(await passwordOf(credentials), salt, iterations, keyBytes, hash);
  const clientKey = hmac(salted, "Client Key");
  const storedKey = createHash(hash).update(clientKey).digest();
  const clientFinal = `c=${NO_CHANNEL_BINDING},r=${nonce}`;
  const signed = `${clientFirst},${serverFirst},${clientFinal}`;
  const proof = xor(clientKey, hmac(storedKey, signed)).toString("base64");

  const answer = scramFields(await exchange.send(`${clientFinal},p=${proof}`));
  const refusal = answer.get("e");
  if (refusal !== undefined) throw exchange.refused(refusal);
  const signature = Buffer.from(answer.get("v") ?? "", "base64");
  const expected = hmac(hmac(salted, "Server Key"), signed);
  if (signature.length !== expected.length || !timingSafeEqual(signature, expected)) {
    throw exchange.refused("the broker's signature does not match: it does not know the password");
  }
}

async function passwordOf({ password }: PasswordCredentials): Promise<string> {
  return typeof password === "function" ? password() : password;
}

function escapeName(name: string): string {
  return name.replaceAll("=", "=3D").replaceAll(",", "=2C");
}

/** "r=…,s=…,i=…" by letter. */
function scramFields(message: string): ReadonlyMap<string, string> {
  return new Map(message.split(",").map((field) => [field.slice(0, 1), field.slice(2)]));
}

function xor(a: Buffer, b: Buffer): Buffer {
  return Buffer.from(a.map((byte, index) => byte ^ (b[index] ?? 0)));
}

/** Separates the parts of an OAUTHBEARER token. Source: RFC 7628. */
const SEPARATOR = "\x01";

async function exchangeToken(exchange: Exchange, credentials: OauthCredentials): Promise<void> {
  const given = await credentials.token();
  const token = typeof given === "string" ? { value: given } : given;
  const extensions = Object.entries(token.extensions ?? {}).map(([name, value]) => `${name}=${value}${SEPARATOR}`);
  const answer = await exchange.send(
    `n,,${SEPARATOR}auth=Bearer ${token.value}${SEPARATOR}${extensions.join("")}${SEPARATOR}`,
  );
  if (answer === "") return;
  // A refusal comes as JSON and has to be acknowledged; the broker's error follows, which says less.
  await exchange.send(SEPARATOR).catch(() => {});
  throw exchange.refused(answer);
}
