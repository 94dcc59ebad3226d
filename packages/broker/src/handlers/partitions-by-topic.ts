/** What the APIs have in common whose requests and responses list partitions below the names of their topics. */

import { type Parted, selectPartitions } from "../handler.ts";

interface AskedTopic {
  readonly name: string;
  readonly partitions: readonly { readonly partitionIndex: number }[];
}

/** Which parts of such a request are about which partitions. */
export function partedByTopic<
  Request extends { readonly topics: readonly AskedTopic[] },
  Response extends { readonly topics?: readonly unknown[] },
>(): Parted<Request, Response> {
  return {
    namesPartitions: true,
    select(request, keep) {
      const topics = selectPartitions<AskedTopic, AskedTopic["partitions"][number]>(
        request.topics,
        {
          name: ({ name }) => name,
          partitions: ({ partitions }) => partitions,
          index: ({ partitionIndex }) => partitionIndex,
          withPartitions: (topic, partitions) => ({ ...topic, partitions }),
        },
        keep,
      );
      return topics === null ? null : { ...request, topics };
    },
    join: (first, second) => ({ ...first, topics: [...(first.topics ?? []), ...(second.topics ?? [])] }),
  };
}

/** The topics of a response that says of every partition that it failed. */
export function failedByTopic(asked: readonly AskedTopic[], errorCode: number) {
  return asked.map(({ name, partitions }) => ({
    name,
    partitions: partitions.map(({ partitionIndex }) => ({ partitionIndex, errorCode })),
  }));
}
