/** DeleteRecords: moves the start of partitions' logs forward; -1 to the end of what readers see. v0–2. */

import { deleteRecordsApi, KafkaError } from "@millrace/protocol";
import { defineHandler, errorNumberOf, NO_ERROR, type RequestContext } from "../handler.ts";
import { settingOf } from "../topics/topic-settings.ts";

const UP_TO_HIGH_WATERMARK = -1n;

export const deleteRecordsHandler = defineHandler({
  api: deleteRecordsApi,
  versions: [0, 2],

  async handle(request, context) {
    const topics = request.topics.map(async ({ name, partitions }) => ({
      name,
      partitions: await Promise.all(
        partitions.map(({ partitionIndex, offset }) => deleteBefore(name, partitionIndex, offset, context)),
      ),
    }));
    return { topics: await Promise.all(topics) };
  },

  errorResponse: (request, errorCode) => ({
    topics: request.topics.map(({ name, partitions }) => ({
      name,
      partitions: partitions.map(({ partitionIndex }) => ({ partitionIndex, lowWatermark: -1n, errorCode })),
    })),
  }),
});

async function deleteBefore(name: string, partitionIndex: number, offset: bigint, { access, broker }: RequestContext) {
  const where = `delete records of ${name}-${partitionIndex}`;
  try {
    access.expect("DELETE", "TOPIC", name);
    const topic = broker.topics.expect(name);
    const log = topic.partition(partitionIndex);
    if (!settingOf("cleanup.policy", topic.config, broker.options).includes("delete")) {
      throw new KafkaError("POLICY_VIOLATION", `topic ${name} is compacted: its records are deleted by key`);
    }
    const startOffset = offset === UP_TO_HIGH_WATERMARK ? log.highWatermark : offset;
    if (startOffset < 0n || startOffset > log.highWatermark) {
      throw new KafkaError(
        "OFFSET_OUT_OF_RANGE",
        `${where}: ${offset} is outside ${log.logStartOffset} to ${log.highWatermark}`,
      );
    }
    await log.deleteRecordsBefore(startOffset);
    return { partitionIndex, lowWatermark: log.logStartOffset, errorCode: NO_ERROR };
  } catch (error) {
    return { partitionIndex, lowWatermark: -1n, errorCode: errorNumberOf(error, where, broker.logger) };
  }
}
