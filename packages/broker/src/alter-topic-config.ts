/** One resource of a request that changes settings: checked, changed, and answered for. */

import { KafkaError } from "@millrace/protocol";
import { RESOURCE } from "./config-entries.ts";
import { errorMessageOf, errorNumberOf, NO_ERROR, type RequestContext } from "./handler.ts";
import type { Topic } from "./topics/topic.ts";
import { checkTopicConfig } from "./topics/topic-settings.ts";

interface AlteredResource {
  readonly resourceType: number;
  readonly resourceName: string;
  readonly validateOnly: boolean;
}

/** change: all settings that the topic is to have from now on. */
export async function alterTopicConfig(
  { resourceType, resourceName, validateOnly }: AlteredResource,
  { access, broker }: RequestContext,
  change: (topic: Topic) => Iterable<readonly [name: string, value: string | null]>,
) {
  const { topics, logger } = broker;
  try {
    if (resourceType === RESOURCE.topic) access.expect("ALTER_CONFIGS", "TOPIC", resourceName);
    else access.expectCluster("ALTER_CONFIGS");
    if (resourceType !== RESOURCE.topic) {
      throw new KafkaError(
        "INVALID_REQUEST",
        "only topics can be changed here: a broker has the options it was started with",
      );
    }
    const topic = topics.expect(resourceName);
    const config = checkTopicConfig(change(topic));
    if (!validateOnly) await topics.configure(resourceName, config);
    return { errorCode: NO_ERROR, resourceType, resourceName };
  } catch (error) {
    const errorCode = errorNumberOf(error, `change settings of ${resourceName}`, logger);
    return { errorCode, errorMessage: errorMessageOf(error), resourceType, resourceName };
  }
}
