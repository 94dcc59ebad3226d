/** SaslAuthenticate (key 36): one step of a SASL exchange. */

import { bytes, defineApi, int16, int64, string } from "../schema.ts";

export const saslAuthenticateApi = defineApi({
  key: 36,
  name: "SaslAuthenticate",
  versions: [0, 2],
  flexibleSince: 2,
  request: { authBytes: bytes() },
  response: {
    errorCode: int16(),
    errorMessage: string().nullable().default(null),
    authBytes: bytes(),
    // 0: for ever. Else the client has to authenticate again within this time (KIP-368).
    sessionLifetimeMs: int64().since(1).default(0n),
  },
});
