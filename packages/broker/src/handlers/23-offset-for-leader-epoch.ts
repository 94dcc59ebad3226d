/**
 * OffsetForLeaderEpoch: where a leader epoch ended, by which a consumer sees that what it read was taken back by a crash.
 *
 * v2–4.
 */

import { offsetForLeaderEpochApi } from "@millrace/protocol";
import { defineHandler, errorNumberOf, NO_ERROR } from "../handler.ts";
import { checkLeaderEpoch } from "./leader-epoch.ts";

export const offsetForLeaderEpochHandler = defineHandler({
  api: offsetForLeaderEpochApi,
  versions: [2, 4],

  handle(request, { access, broker }) {
    const topics = request.topics.map(({ topic: name, partitions }) => ({
      topic: name,
      partitions: partitions.map(({ partition, currentLeaderEpoch, leaderEpoch }) => {
        try {
          access.expect("DESCRIBE", "TOPIC", name);
          const log = broker.topics.expect(name).partition(partition);
          checkLeaderEpoch(currentLeaderEpoch, log);
          return { errorCode: NO_ERROR, partition, ...log.epochEndOffset(leaderEpoch) };
        } catch (error) {
          return { errorCode: errorNumberOf(error, `epoch of ${name}-${partition}`, broker.logger), partition };
        }
      }),
    }));
    return { topics };
  },

  errorResponse: (request, errorCode) => ({
    topics: request.topics.map(({ topic, partitions }) => ({
      topic,
      partitions: partitions.map(({ partition }) => ({ errorCode, partition })),
    })),
  }),
});
