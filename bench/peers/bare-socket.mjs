/** No client: one produce request, encoded beforehand, is written again for each send. The floor under a lone caller. */

import { connect as connectSocket } from "node:net";
import { encodeRequest, NO_PRODUCER, produceApi, RecordBatchBuilder, stampBatch } from "@millrace/protocol";
import { recordValue } from "../value.mjs";

/** Supported by every Kafka since 2.4. */
const PRODUCE_VERSION = 8;

export async function connect(task) {
  // It knows one answer at a time, and no batches.
  if (task.run !== "singles" || task.callers !== 1) return null;
  const request = encodeProduce(task);
  let onAnswer = () => {};
  const onread = {
    buffer: Buffer.alloc(4096),
    callback: () => {
      onAnswer();
      return true;
    },
  };
  const [host, port] = task.brokers.split(":");
  const socket = connectSocket({ host, port: Number(port), noDelay: true, onread });
  await new Promise((resolve) => socket.once("connect", resolve));
  return {
    version: "–",
    send: () =>
      new Promise((resolve) => {
        onAnswer = resolve;
        socket.write(request);
      }),
    close: () => socket.destroy(),
  };
}

function encodeProduce(task) {
  const builder = new RecordBatchBuilder(Buffer.alloc(4096));
  builder.append(Date.now(), null, 0, recordValue(task), null);
  const batch = builder.seal(null);
  stampBatch(batch, NO_PRODUCER);
  const topicData = [{ name: task.topic, partitionData: [{ index: 0, records: [batch] }] }];
  const body = { transactionalId: null, acks: -1, timeoutMs: 30_000, topicData };
  return Buffer.concat(encodeRequest(produceApi, PRODUCE_VERSION, { correlationId: 1, clientId: "bench" }, body));
}
