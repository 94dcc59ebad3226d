/** SaslHandshake (key 17): which SASL mechanism the client means to use. */

import { array, defineApi, int16, string } from "../schema.ts";

/** Version 0 is followed by bare tokens, version 1 by SaslAuthenticate requests (KIP-152). */
export const saslHandshakeApi = defineApi({
  key: 17,
  name: "SaslHandshake",
  versions: [0, 1],
  flexibleSince: "never",
  request: { mechanism: string() },
  response: {
    errorCode: int16(),
    // What the broker has enabled, whether the handshake worked or not.
    mechanisms: array(string()),
  },
});
