/** DescribeLogDirs: how many bytes each partition takes in the data dir, and how much room is left. v1–4. */

import { resolve } from "node:path";
import { describeLogDirsApi } from "@millrace/protocol";
import { defineHandler, NO_ERROR } from "../handler.ts";

export const describeLogDirsHandler = defineHandler({
  api: describeLogDirsApi,
  versions: [1, 4],

  async handle(request, { access, broker }) {
    access.expectCluster("DESCRIBE");
    const asked =
      request.topics === null ? null : new Map(request.topics.map(({ topic, partitions }) => [topic, partitions]));
    const topics = broker.topics
      .list()
      .filter(({ name }) => asked === null || asked.has(name))
      .map(({ name, partitions }) => ({
        name,
        partitions: partitions
          .map((log, partitionIndex) => ({
            partitionIndex,
            partitionSize: BigInt(log.sizeBytes),
            offsetLag: 0n,
            isFutureKey: false,
          }))
          .filter(({ partitionIndex }) => asked === null || asked.get(name)?.includes(partitionIndex) === true),
      }));
    const { dataDir, fileSystem } = broker.options;
    const usableBytes = BigInt(await fileSystem.freeBytes(dataDir));
    return { results: [{ errorCode: NO_ERROR, logDir: resolve(dataDir), topics, usableBytes }] };
  },

  errorResponse: (_request, errorCode) => ({ errorCode, results: [] }),
});
