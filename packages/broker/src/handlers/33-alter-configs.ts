/** AlterConfigs: replaces all settings of a topic by those given. Old; see IncrementalAlterConfigs. v0–2. */

import { alterConfigsApi } from "@millrace/protocol";
import { alterTopicConfig } from "../alter-topic-config.ts";
import { defineHandler } from "../handler.ts";

export const alterConfigsHandler = defineHandler({
  api: alterConfigsApi,
  versions: [0, 2],

  async handle({ resources, validateOnly }, context) {
    const responses = resources.map(({ resourceType, resourceName, configs }) =>
      alterTopicConfig({ resourceType, resourceName, validateOnly }, context, () =>
        configs.map(({ name, value }) => [name, value] as const),
      ),
    );
    return { responses: await Promise.all(responses) };
  },

  errorResponse: ({ resources }, errorCode) => ({
    responses: resources.map(({ resourceType, resourceName }) => ({ errorCode, resourceType, resourceName })),
  }),
});
