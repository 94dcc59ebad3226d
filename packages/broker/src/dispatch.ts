/** From a frame to the handler of its API, after the version check; and what clients are told we speak. */

import {
  apiVersionsApi,
  decodeRequestHeader,
  encodeResponse,
  errorByCode,
  Reader,
  type RequestHeader,
  saslAuthenticateApi,
  saslHandshakeApi,
  WireError,
} from "@millrace/protocol";
import type { AdvertisedApi, Handler, RequestContext } from "./handler.ts";

/** Api key and api version: what must be there to tell who should read the rest. */
const ROUTE_BYTES = 4;
/** All that a client may ask before it has logged in. */
const OPEN_APIS: ReadonlySet<number> = new Set(
  [apiVersionsApi, saslHandshakeApi, saslAuthenticateApi].map(({ key }) => key),
);

export interface RequestFrame {
  readonly header: RequestHeader;
  /** Stands behind the client id. */
  readonly reader: Reader;
}

export class Dispatcher {
  readonly advertisedApis: readonly AdvertisedApi[];
  readonly #handlers = new Map<number, Handler>();

  constructor(handlers: readonly Handler[]) {
    for (const handler of handlers) this.#handlers.set(handler.apiKey, handler);
    this.advertisedApis = handlers
      .map(({ apiKey, versions }) => ({ apiKey, minVersion: versions.min, maxVersion: versions.max }))
      .sort((a, b) => a.apiKey - b.apiKey);
  }

  /** Whether the frame begins like a request to us. A client is known by its first such frame. */
  isRequest(frame: Buffer): boolean {
    if (frame.length < ROUTE_BYTES) return false;
    const apiKey = frame.readInt16BE(0);
    return apiKey === apiVersionsApi.key || this.#supports(apiKey, frame.readInt16BE(2));
  }

  /** Whether the frame's request may start before those before it are answered. */
  isPipelined(frame: Buffer): boolean {
    return frame.length >= ROUTE_BYTES && this.#handlers.get(frame.readInt16BE(0))?.isPipelined === true;
  }

  /** Whether nobody looks at the frame's bytes any more once its request has a response. */
  isDoneWithBytes(frame: Buffer): boolean {
    return this.#handlers.get(frame.readInt16BE(0))?.isDoneWithBytes === true;
  }

  /** Whether a client that has not logged in may ask this. */
  isOpenToAll({ header }: RequestFrame): boolean {
    return OPEN_APIS.has(header.apiKey);
  }

  /** Throws WireError for an API or version that is not served: Kafka closes the connection then, and so do we. */
  read(frame: Buffer): RequestFrame {
    const reader = new Reader(frame);
    const header = decodeRequestHeader(reader);
    const { apiKey, apiVersion } = header;
    if (!this.#supports(apiKey, apiVersion) && apiKey !== apiVersionsApi.key) {
      throw new WireError(this.#unsupported(apiKey, apiVersion), 0);
    }
    return { header, reader };
  }

  /** Resolves to the response frame, or to null for no response. Rejects with WireError for a malformed request. */
  answer(request: RequestFrame, context: RequestContext): Promise<readonly Uint8Array[] | null> {
    const { apiKey, apiVersion, correlationId } = request.header;
    const handler = this.#handlers.get(apiKey);
    if (handler === undefined || !this.#supports(apiKey, apiVersion)) {
      return Promise.resolve(this.#answerUnknownApiVersions(correlationId));
    }
    return handler.answer(request.reader, correlationId, context);
  }

  /**
   * A client that asks for our versions in a version newer than ours is told in version 0 which one to ask in.
   *
   * The list holds the range of ApiVersions alone, which is what franz-go takes as the hint to ask again. Source: KIP-511.
   */
  #answerUnknownApiVersions(correlationId: number): readonly Uint8Array[] {
    return encodeResponse(apiVersionsApi, 0, correlationId, {
      errorCode: errorByCode("UNSUPPORTED_VERSION").number,
      apiKeys: this.advertisedApis.filter(({ apiKey }) => apiKey === apiVersionsApi.key),
    });
  }

  #supports(apiKey: number, version: number): boolean {
    const handler = this.#handlers.get(apiKey);
    return handler !== undefined && version >= handler.versions.min && version <= handler.versions.max;
  }

  #unsupported(apiKey: number, version: number): string {
    const handler = this.#handlers.get(apiKey);
    if (handler === undefined) return `there is no API with key ${apiKey} here`;
    return `${handler.name} v${version}; served are v${handler.versions.min} to v${handler.versions.max}`;
  }
}
