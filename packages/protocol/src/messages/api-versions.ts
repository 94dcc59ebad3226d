/** ApiVersions (key 18): which versions of which API a broker speaks; the first thing a client asks. */

import { array, defineApi, int16, int32, int64, string, struct } from "../schema.ts";

export const apiVersionsApi = defineApi({
  key: 18,
  name: "ApiVersions",
  versions: [0, 4],
  flexibleSince: 3,
  request: {
    clientSoftwareName: string().since(3).default(""),
    clientSoftwareVersion: string().since(3).default(""),
  },
  response: {
    errorCode: int16(),
    apiKeys: array(struct({ apiKey: int16(), minVersion: int16(), maxVersion: int16() })),
    throttleTimeMs: int32().since(1).default(0),
    supportedFeatures: array(struct({ name: string(), minVersion: int16(), maxVersion: int16() }))
      .since(3)
      .tagged(0)
      .default([]),
    finalizedFeaturesEpoch: int64().since(3).tagged(1).default(-1n),
    finalizedFeatures: array(struct({ name: string(), maxVersionLevel: int16(), minVersionLevel: int16() }))
      .since(3)
      .tagged(2)
      .default([]),
  },
});
