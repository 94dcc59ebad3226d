/** Which versions of each API a broker speaks. */

import { type Api, apiVersionsApi, BrokerError, errorByCode, KafkaError, type VersionRange } from "@millrace/protocol";
import { softwareName, softwareVersion } from "../software.ts";

/** Sends a request in a version of its own: which ones the broker speaks is not known yet. */
export type VersionedSend = <Request, RequestInput, Response, ResponseInput>(
  api: Api<Request, RequestInput, Response, ResponseInput>,
  version: number,
  body: RequestInput,
) => Promise<Response>;

const UNSUPPORTED_VERSION = errorByCode("UNSUPPORTED_VERSION").number;

export class BrokerVersions {
  readonly #broker: string;
  readonly #offered: ReadonlyMap<number, VersionRange>;

  /** Asks the broker, in ApiVersions of this version or the highest that it can read. Rejects with KafkaError. */
  static async ask(broker: string, send: VersionedSend, version: number): Promise<BrokerVersions> {
    const body = { clientSoftwareName: softwareName, clientSoftwareVersion: softwareVersion };
    const { errorCode, apiKeys } = await send(apiVersionsApi, version, body);
    if (errorCode === UNSUPPORTED_VERSION && version > 0) {
      // KIP-511: the answer names what the broker can read. It must be lower, or we would ask for ever.
      const offered = apiKeys.find((entry) => entry.apiKey === apiVersionsApi.key)?.maxVersion ?? 0;
      return BrokerVersions.ask(broker, send, Math.max(0, Math.min(offered, version - 1)));
    }
    if (errorCode !== 0) throw BrokerError.fromNumber(errorCode, `ApiVersions of ${broker}`);
    const offered = new Map(apiKeys.map((entry) => [entry.apiKey, { min: entry.minVersion, max: entry.maxVersion }]));
    return new BrokerVersions(broker, offered);
  }

  constructor(broker: string, offered: ReadonlyMap<number, VersionRange> = new Map()) {
    this.#broker = broker;
    this.#offered = offered;
  }

  /** The highest version in common, up to maxVersion. Throws KafkaError (UNSUPPORTED_VERSION) if there is none. */
  versionOf(api: Pick<Api, "key" | "name" | "versions">, maxVersion = api.versions.max): number {
    const offered = this.#offered.get(api.key);
    const version = Math.min(api.versions.max, maxVersion, offered?.max ?? -1);
    if (offered !== undefined && version >= offered.min && version >= api.versions.min) return version;
    const theirs = offered === undefined ? "none" : `${offered.min} to ${offered.max}`;
    throw new KafkaError(
      "UNSUPPORTED_VERSION",
      `${this.#broker}: ${api.name}: broker speaks version ${theirs}, client ${api.versions.min} to ${Math.min(api.versions.max, maxVersion)}`,
    );
  }
}

/** An ApiVersions answer that says "unsupported version" is in version 0, whatever was asked (KIP-511). It begins at offset. */
export function versionOfAnswer(api: Pick<Api, "key">, version: number, frame: Buffer, offset: number): number {
  if (api.key !== apiVersionsApi.key || frame.length < offset + 2) return version;
  return frame.readInt16BE(offset) === UNSUPPORTED_VERSION ? 0 : version;
}
