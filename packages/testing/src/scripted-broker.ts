/** A broker that does what a test tells it: answers by a function per API, late, never, or with lies. */

import { type Address, type ByteStream, formatAddress, type Listener, type Network } from "@millrace/base";
import {
  type Api,
  apiVersionsApi,
  decodeRequestHeader,
  encodeResponse,
  FrameSplitter,
  metadataApi,
  NIL_UUID,
  Reader,
  skipHeaderTags,
} from "@millrace/protocol";

const FRAME_LIMIT_BYTES = 16 * 1024 * 1024;
const ANY_PORT: Address = { host: "127.0.0.1", port: 0 };

/** What a handler knows of the request beside its body, and may do instead of answering. */
export interface ScriptedCall {
  readonly version: number;
  readonly correlationId: number;
  readonly clientId: string | null;
  /** Closes the connection, now. */
  cut(): void;
  /** Writes bytes as they are. */
  writeRaw(bytes: Uint8Array): void;
}

/** Null: no answer. */
export type ScriptedHandler<Request, ResponseInput> = (
  request: Request,
  call: ScriptedCall,
) => ResponseInput | null | Promise<ResponseInput | null>;

interface Script {
  readonly api: Api<unknown, unknown, unknown, unknown>;
  readonly versions: readonly [min: number, max: number];
  handle(request: unknown, call: ScriptedCall): unknown;
}

export interface ReceivedRequest {
  readonly apiKey: number;
  readonly apiName: string;
  readonly version: number;
}

export class ScriptedBroker {
  /** All requests so far, ApiVersions included, in the order of their arrival. */
  readonly received: ReceivedRequest[] = [];
  #listener: Listener | null = null;
  readonly #scripts = new Map<number, Script>();
  readonly #streams = new Set<ByteStream>();
  #connectionCount = 0;

  private constructor() {
    this.on(apiVersionsApi, () => this.#offeredVersions());
  }

  static async listen(network: Network, address: Address = ANY_PORT): Promise<ScriptedBroker> {
    const broker = new ScriptedBroker();
    broker.#listener = await network.listen(address, (stream) => broker.#accept(stream));
    return broker;
  }

  get address(): Address {
    if (this.#listener === null) throw new Error("the broker does not listen");
    return this.#listener.address;
  }

  /** "host:port". */
  get server(): string {
    return formatAddress(this.address);
  }

  /** Connections accepted so far. */
  get connectionCount(): number {
    return this.#connectionCount;
  }

  /** Connections that are open. */
  get openConnectionCount(): number {
    return this.#streams.size;
  }

  /** Answers an API from now on. versions: what is offered; all that we can write unless told. */
  on<Request, RequestInput, Response, ResponseInput>(
    api: Api<Request, RequestInput, Response, ResponseInput>,
    handle: ScriptedHandler<Request, ResponseInput>,
    versions: readonly [min: number, max: number] = [api.versions.min, api.versions.max],
  ): this {
    // The request that is handed over was decoded by the same api.
    this.#scripts.set(api.key, { api, versions, handle: (request, call) => handle(request as Request, call) });
    return this;
  }

  /** Answers Metadata with these brokers and topics from now on. The first broker is the controller. */
  serveMetadata(
    brokers: readonly ScriptedNode[],
    topics: Readonly<Record<string, readonly ScriptedPartition[]>>,
  ): this {
    return this.on(metadataApi, (request) => {
      const names = request.topics === null ? Object.keys(topics) : request.topics.map((topic) => topic.name ?? "");
      return {
        brokers: brokers.map(({ nodeId, address }) => ({ nodeId, ...address })),
        clusterId: "scripted",
        controllerId: brokers[0]?.nodeId ?? -1,
        topics: names.map((name) => scriptedTopic(name, topics[name])),
      };
    });
  }

  /** How often an API was asked. */
  countOf(api: { readonly key: number }): number {
    return this.received.filter((request) => request.apiKey === api.key).length;
  }

  /** Closes all connections; new ones are accepted. */
  cutAll(): void {
    for (const stream of this.#streams) stream.destroy();
  }

  /** Closes all connections and listens no more. */
  async close(): Promise<void> {
    const closed = this.#listener?.close();
    this.cutAll();
    await closed;
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  #accept(stream: ByteStream): void {
    this.#connectionCount += 1;
    this.#streams.add(stream);
    const splitter = new FrameSplitter(FRAME_LIMIT_BYTES);
    // Handlers may be slow; the answers go out in the order of the requests all the same.
    let answers: Promise<void> = Promise.resolve();
    stream.start({
      onData: (bytes) => {
        splitter.push(bytes, (frame) => {
          const answer = this.#handle(frame, stream);
          answers = answers.then(async () => {
            const chunks = await answer;
            if (chunks !== null) stream.write(chunks);
          });
        });
      },
      onClose: () => this.#streams.delete(stream),
    });
  }

  async #handle(frame: Buffer, stream: ByteStream): Promise<readonly Uint8Array[] | null> {
    const reader = new Reader(frame);
    const { apiKey, apiVersion: version, correlationId, clientId } = decodeRequestHeader(reader);
    const script = this.#scripts.get(apiKey);
    this.received.push({ apiKey, apiName: script?.api.name ?? `api ${apiKey}`, version });
    if (script === undefined) {
      stream.destroy();
      return null;
    }
    const { api } = script;
    const [minVersion, maxVersion] = script.versions;
    if (api.key === apiVersionsApi.key && (version < minVersion || version > maxVersion)) {
      return encodeResponse(apiVersionsApi, 0, correlationId, {
        errorCode: UNSUPPORTED_VERSION,
        apiKeys: [{ apiKey, minVersion, maxVersion }],
      });
    }
    if (version >= api.flexibleSince) skipHeaderTags(reader);
    const request = api.request.decode(reader, version);
    const call: ScriptedCall = {
      version,
      correlationId,
      clientId,
      cut: () => stream.destroy(),
      writeRaw: (bytes) => stream.write([bytes]),
    };
    const response = await script.handle(request, call);
    return response === null ? null : encodeResponse(api, version, correlationId, response);
  }

  #offeredVersions() {
    const scripts = [...this.#scripts.values()];
    return {
      errorCode: 0,
      apiKeys: scripts.map(({ api, versions: [minVersion, maxVersion] }) => ({
        apiKey: api.key,
        minVersion,
        maxVersion,
      })),
    };
  }
}

const UNSUPPORTED_VERSION = 35;
const UNKNOWN_TOPIC_OR_PARTITION = 3;
const LEADER_NOT_AVAILABLE = 5;

export interface ScriptedNode {
  readonly nodeId: number;
  readonly address: Address;
}

export interface ScriptedPartition {
  /** -1: none. */
  readonly leaderId: number;
  readonly leaderEpoch?: number;
}

/** A topic for a Metadata answer; one without partitions is not known. */
export function scriptedTopic(
  name: string,
  partitions: readonly ScriptedPartition[] | undefined,
  topicId: string = NIL_UUID,
) {
  return {
    errorCode: partitions === undefined ? UNKNOWN_TOPIC_OR_PARTITION : 0,
    name,
    topicId,
    partitions: (partitions ?? []).map(({ leaderId, leaderEpoch = 0 }, partitionIndex) => ({
      errorCode: leaderId < 0 ? LEADER_NOT_AVAILABLE : 0,
      partitionIndex,
      leaderId,
      leaderEpoch,
      replicaNodes: [leaderId],
      isrNodes: [leaderId],
    })),
  };
}
