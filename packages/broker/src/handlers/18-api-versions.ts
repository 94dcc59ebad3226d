/**
 * ApiVersions: what is served, the first thing a client asks.
 *
 * v0–4. The response's header is that of v0 for ever, and an unknown version is answered in v0: both are the
 * dispatcher's. No features are told: they are how brokers with transactions of a newer kind show it.
 */

import { apiVersionsApi, KafkaError } from "@millrace/protocol";
import { defineHandler, NO_ERROR } from "../handler.ts";

const SOFTWARE_SINCE_VERSION = 3;
/** Source: KIP-511. */
const SOFTWARE_NAME = /^[a-zA-Z0-9](?:[a-zA-Z0-9\-.]*[a-zA-Z0-9])?$/;

export const apiVersionsHandler = defineHandler({
  api: apiVersionsApi,
  versions: [0, 4],

  handle({ clientSoftwareName, clientSoftwareVersion }, context) {
    if (context.version >= SOFTWARE_SINCE_VERSION) {
      if (!SOFTWARE_NAME.test(clientSoftwareName) || !SOFTWARE_NAME.test(clientSoftwareVersion)) {
        throw new KafkaError("INVALID_REQUEST", "clientSoftwareName and clientSoftwareVersion must be names");
      }
      context.identifyClient(clientSoftwareName, clientSoftwareVersion);
    }
    return { errorCode: NO_ERROR, apiKeys: context.advertisedApis };
  },

  errorResponse: (_request, errorCode) => ({ errorCode, apiKeys: [] }),
});
