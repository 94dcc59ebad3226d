/** A writable stream of records. */

import { Writable } from "node:stream";
import type { Delivery } from "./completion.ts";
import type { ProducerRecord, RecordMetadata } from "./record.ts";

/** Records the stream takes before it asks its source to wait; what bounds bytes is the producer's bufferMemory. */
const HIGH_WATER_RECORDS = 1_024;

/** What the stream needs of a producer. */
export interface RecordSink {
  produce(record: ProducerRecord): Promise<Delivery>;
}

/**
 * Takes the next record once this one is buffered, so that several batches are in flight; finishes once all records
 * written to it are acknowledged. A record that fails destroys the stream with its error.
 */
export function createRecordWritable(sink: RecordSink): Writable {
  let pendingCount = 0;
  let onDrained: (() => void) | null = null;
  const settled = () => {
    pendingCount -= 1;
    if (pendingCount === 0) onDrained?.();
  };
  const stream = new Writable({
    objectMode: true,
    highWaterMark: HIGH_WATER_RECORDS,
    write(record: ProducerRecord, _encoding, callback) {
      sink.produce(record).then((delivery) => {
        pendingCount += 1;
        follow(delivery.acknowledged);
        callback();
      }, callback);
    },
    final(callback) {
      if (pendingCount === 0) callback();
      else onDrained = callback;
    },
  });
  const follow = (acknowledged: Promise<RecordMetadata>) => {
    acknowledged.then(settled, (error: Error) => stream.destroy(error));
  };
  return stream;
}
