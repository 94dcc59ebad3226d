/** DescribeConfigs (key 32): the options of topics and brokers, with where each value comes from. */

import { array, boolean, defineApi, int8, int16, int32, string, struct } from "../schema.ts";

export const describeConfigsApi = defineApi({
  key: 32,
  name: "DescribeConfigs",
  versions: [1, 4],
  flexibleSince: 4,
  request: {
    resources: array(
      struct({
        // 2: a topic. 4: a broker. 8: a broker's logger.
        resourceType: int8(),
        resourceName: string(),
        // Null: all.
        configurationKeys: array(string()).nullable(),
      }),
    ),
    includeSynonyms: boolean().default(false),
    includeDocumentation: boolean().since(3).default(false),
  },
  response: {
    throttleTimeMs: int32().default(0),
    results: array(
      struct({
        errorCode: int16(),
        errorMessage: string().nullable().default(null),
        resourceType: int8(),
        resourceName: string(),
        configs: array(
          struct({
            name: string(),
            value: string().nullable(),
            readOnly: boolean(),
            // 1: topic. 2, 3: dynamic broker, dynamic default. 4: static broker. 5: default. 6: broker's logger.
            configSource: int8().default(-1),
            isSensitive: boolean(),
            synonyms: array(struct({ name: string(), value: string().nullable(), source: int8() })),
            configType: int8().since(3).default(0),
            documentation: string().since(3).nullable().default(null),
          }),
        ),
      }),
    ),
  },
});
