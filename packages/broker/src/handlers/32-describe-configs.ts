/**
 * DescribeConfigs: all settings of topics and of the broker, with where each value comes from.
 *
 * v1–4. All, set or not: tools that write back what they read would lose the rest.
 */

import { describeConfigsApi, KafkaError } from "@millrace/protocol";
import { brokerConfigEntries, type ConfigEntry, RESOURCE, topicConfigEntries } from "../config-entries.ts";
import {
  defineHandler,
  errorMessageOf,
  errorNumberOf,
  NO_ERROR,
  type RequestContext,
  type RequestOf,
} from "../handler.ts";

type DescribeConfigsRequest = RequestOf<typeof describeConfigsApi>;
type AskedResource = DescribeConfigsRequest["resources"][number];

export const describeConfigsHandler = defineHandler({
  api: describeConfigsApi,
  versions: [1, 4],

  handle: (request, context) => ({
    results: request.resources.map((resource) => describe(resource, request, context)),
  }),

  errorResponse: (request, errorCode) => ({
    results: request.resources.map(({ resourceType, resourceName }) => ({
      errorCode,
      resourceType,
      resourceName,
      configs: [],
    })),
  }),
});

function describe(asked: AskedResource, request: DescribeConfigsRequest, context: RequestContext) {
  const { resourceType, resourceName, configurationKeys } = asked;
  try {
    const configs = entriesOf(asked, context)
      .filter(({ name }) => configurationKeys === null || configurationKeys.includes(name))
      .map((entry) => ({
        name: entry.name,
        value: entry.synonyms[0].value,
        readOnly: resourceType === RESOURCE.broker,
        configSource: entry.synonyms[0].source,
        isSensitive: false,
        synonyms: request.includeSynonyms ? entry.synonyms : [],
        configType: entry.type,
        documentation: request.includeDocumentation ? entry.doc : null,
      }));
    return { errorCode: NO_ERROR, resourceType, resourceName, configs };
  } catch (error) {
    const errorCode = errorNumberOf(error, `describe configs of ${resourceName}`, context.broker.logger);
    return { errorCode, errorMessage: errorMessageOf(error), resourceType, resourceName, configs: [] };
  }
}

function entriesOf({ resourceType, resourceName }: AskedResource, context: RequestContext): ConfigEntry[] {
  const { access, broker } = context;
  if (resourceType === RESOURCE.topic) {
    access.expect("DESCRIBE_CONFIGS", "TOPIC", resourceName);
    const topic = broker.topics.expect(resourceName);
    return topicConfigEntries(topic.config, broker.options);
  }
  access.expectCluster("DESCRIBE_CONFIGS");
  if (resourceType === RESOURCE.broker) {
    // No name stands for the defaults of all brokers, which nothing was ever set for.
    if (resourceName === "") return [];
    if (resourceName === String(broker.options.nodeId)) return brokerConfigEntries(broker.options, context.advertised);
    throw new KafkaError("INVALID_REQUEST", `there is no broker ${resourceName}; this one is ${broker.options.nodeId}`);
  }
  if (resourceType === RESOURCE.brokerLogger) return [];
  throw new KafkaError("INVALID_REQUEST", `resources of type ${resourceType} have no settings here`);
}
