/** A schema registry for tests: Confluent's REST API over HTTP, in memory. */

import { createServer, type IncomingMessage, type Server } from "node:http";
import type { AddressInfo } from "node:net";

interface StoredVersion {
  readonly id: number;
  readonly version: number;
  readonly schema: string;
  /** Of Avro it is not said. */
  readonly schemaType?: string;
  readonly references: readonly unknown[];
}

interface NewSchema {
  readonly schema: string;
  readonly schemaType?: string;
  readonly references?: readonly unknown[];
}

interface Answer {
  readonly status: number;
  readonly body: object;
}

const AVRO = "AVRO";

export interface SchemaRegistryServerOptions {
  /** Basic credentials that every request must show. */
  readonly username?: string;
  readonly password?: string;
}

export class SchemaRegistryServer {
  readonly #server: Server;
  readonly #authorization: string | null;
  readonly #subjects = new Map<string, StoredVersion[]>();
  readonly #faults: ("fail" | "silence")[] = [];
  #nextId = 1;
  /** "POST /subjects/orders-value/versions", in the order of their arrival. */
  readonly requests: string[] = [];

  private constructor({ username, password }: SchemaRegistryServerOptions) {
    this.#authorization =
      username === undefined ? null : `Basic ${Buffer.from(`${username}:${password}`).toString("base64")}`;
    this.#server = createServer((request, response) => {
      void this.#serve(request).then((answer) => {
        if (answer === null) return;
        response.writeHead(answer.status, { "content-type": "application/vnd.schemaregistry.v1+json" });
        response.end(JSON.stringify(answer.body));
      });
    });
  }

  static async start(options: SchemaRegistryServerOptions = {}): Promise<SchemaRegistryServer> {
    const registry = new SchemaRegistryServer(options);
    await new Promise<void>((resolve) => registry.#server.listen(0, "127.0.0.1", resolve));
    return registry;
  }

  get url(): string {
    const { port } = this.#server.address() as AddressInfo; // it listens on TCP
    return `http://127.0.0.1:${port}`;
  }

  /** The fates of the next requests: answered with 503, or never. */
  plan(...faults: readonly ("fail" | "silence")[]): void {
    this.#faults.push(...faults);
  }

  /** Puts a schema into a subject, as its next version. Returns its id. */
  register(subject: string, schema: object | string, references: readonly unknown[] = [], schemaType = AVRO): number {
    const text = typeof schema === "string" ? schema : JSON.stringify(schema);
    const versions = this.#subjects.get(subject) ?? [];
    const known = versions.find((version) => version.schema === text);
    if (known !== undefined) return known.id;
    // The same schema has one id in all subjects.
    const id = this.#all().find((version) => version.schema === text)?.id ?? this.#nextId++;
    const type = schemaType === AVRO ? {} : { schemaType };
    this.#subjects.set(subject, [...versions, { id, version: versions.length + 1, schema: text, ...type, references }]);
    return id;
  }

  async close(): Promise<void> {
    this.#server.closeAllConnections();
    await new Promise((resolve) => this.#server.close(resolve));
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  async #serve(request: IncomingMessage): Promise<Answer | null> {
    this.requests.push(`${request.method} ${request.url}`);
    const fault = this.#faults.shift();
    if (fault === "silence") return null;
    if (fault === "fail") return refused(503, 50003, "planned");
    if (this.#authorization !== null && request.headers.authorization !== this.#authorization) {
      return refused(401, 40101, "Unauthorized");
    }
    const chunks: Buffer[] = [];
    for await (const chunk of request) chunks.push(chunk);
    const [first, second = "", third, fourth] = (request.url ?? "").split("/").slice(1).map(decodeURIComponent);
    if (first === "schemas") return this.#schemaById(Number(third));
    const body = request.method === "POST" ? JSON.parse(Buffer.concat(chunks).toString()) : null;
    if (body !== null) return third === "versions" ? this.#add(second, body) : this.#find(second, body);
    return this.#version(second, fourth ?? "latest");
  }

  #schemaById(id: number): Answer {
    const found = this.#all().find((version) => version.id === id);
    if (found === undefined) return refused(404, 40403, `Schema ${id} not found.`);
    const { schema, schemaType, references } = found;
    return { status: 200, body: { schema, schemaType, ...(references.length === 0 ? {} : { references }) } };
  }

  #add(subject: string, { schema, schemaType, references }: NewSchema): Answer {
    try {
      JSON.parse(schema);
    } catch {
      return refused(422, 42201, "Either the input schema or one its references is invalid");
    }
    return { status: 200, body: { id: this.register(subject, schema, references, schemaType) } };
  }

  #find(subject: string, { schema }: { schema: string }): Answer {
    const versions = this.#subjects.get(subject);
    if (versions === undefined) return refused(404, 40401, `Subject '${subject}' not found.`);
    const found = versions.find((version) => version.schema === schema);
    return found === undefined ? refused(404, 40403, "Schema not found") : { status: 200, body: { subject, ...found } };
  }

  #version(subject: string, version: string): Answer {
    const versions = this.#subjects.get(subject);
    if (versions === undefined) return refused(404, 40401, `Subject '${subject}' not found.`);
    const found = version === "latest" ? versions.at(-1) : versions[Number(version) - 1];
    return found === undefined
      ? refused(404, 40402, `Version ${version} not found.`)
      : { status: 200, body: { subject, ...found } };
  }

  #all(): StoredVersion[] {
    return [...this.#subjects.values()].flat();
  }
}

function refused(status: number, errorCode: number, message: string): Answer {
  return { status, body: { error_code: errorCode, message } };
}
