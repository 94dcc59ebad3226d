/** SaslHandshake: how the client means to log in. v0–1; after v0 the tokens come without requests around them. */

import { saslHandshakeApi } from "@millrace/protocol";
import { defineHandler, errorNumber, NO_ERROR } from "../handler.ts";

const REQUESTS_SINCE_VERSION = 1;

export const saslHandshakeHandler = defineHandler({
  api: saslHandshakeApi,
  versions: [0, 1],

  handle({ mechanism }, { sasl, version }) {
    // Nobody has to log in here: what Kafka says to that.
    if (sasl === null) return { errorCode: errorNumber("ILLEGAL_SASL_STATE"), mechanisms: [] };
    sasl.begin(mechanism, version < REQUESTS_SINCE_VERSION);
    return { errorCode: NO_ERROR, mechanisms: sasl.mechanisms };
  },

  errorResponse: (_request, errorCode, { sasl }) => ({ errorCode, mechanisms: sasl?.mechanisms ?? [] }),
});
