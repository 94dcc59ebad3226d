/** What a process grows by while its broker is dead and a caller keeps sending without waiting. */

import { fork } from "node:child_process";
import { Admin } from "@millrace/client";
import { KafkaBroker, MillraceBroker } from "../brokers/contestants.mjs";
import { describeMachine, whole } from "../measure.mjs";

const TOPIC = "bench";
const PARTITIONS = 6;
const MEBIBYTE = 1024 * 1024;
/** Millrace's default bufferMemory, and what a process may need beside it. */
const LIMIT_BYTES = (32 + 100) * MEBIBYTE;

const deaths = {
  silent: { title: "stopped by SIGSTOP: it accepts and never answers", die: (broker) => broker.pause() },
  gone: { title: "killed: nothing listens there any more", die: (broker) => broker.kill() },
};

/** A table for each way to die; a broker of its own for each client. Exit code 1 if Millrace grows beyond its limit. */
export async function runMemory(values) {
  const machine = describeMachine();
  const isKafka = process.env.KAFKA_CONTROL !== undefined;
  const name = isKafka ? "Apache Kafka" : "Millrace's broker";
  console.log(`memory, ${name} dead; ${machine.cpu}, Node ${machine.node}, ${machine.os}\n`);
  for (const { title, die } of Object.values(deaths)) {
    console.log(
      `### ${title}\n\n| client | sent in ${values["push-seconds"]} s | refused | grew by |\n|---|---|---|---|`,
    );
    for (const peer of values.peers.split(",")) {
      const broker = isKafka
        ? await KafkaBroker.start(process.env.KAFKA_CONTROL, Number(values["kafka-port"]))
        : await MillraceBroker.start();
      try {
        await createTopic(broker.address);
        show(peer, await measure(peer, broker, () => die(broker), Number(values["push-seconds"]) * 1000));
      } finally {
        await broker.close();
      }
    }
    console.log();
  }
}

async function createTopic(bootstrapServers) {
  const admin = new Admin({ bootstrapServers });
  await admin.createTopics([{ name: TOPIC, partitions: PARTITIONS }]);
  await admin.close();
}

async function measure(peer, broker, die, pushedMs) {
  const pusher = fork(new URL("../memory/pusher.mjs", import.meta.url), {
    env: { ...process.env, NODE_NO_WARNINGS: "1", KAFKAJS_NO_PARTITIONER_WARNING: "1" },
  });
  const ended = new Promise((resolve) => pusher.once("exit", resolve));
  const next = () =>
    new Promise((resolve, reject) => {
      pusher.once("message", resolve);
      void ended.then((code) => reject(new Error(`${peer} ended with exit code ${code}`)));
    });
  pusher.send({ peer, brokers: broker.address, topic: TOPIC, pushedMs });
  const { version } = await next();
  await die();
  pusher.send("push");
  const result = await next();
  await ended;
  return { version, ...result };
}

function show(peer, { version, sentCount, refusedCount, grownBytes, hasGivenUp }) {
  const grown = `${hasGivenUp ? "more than " : ""}${whole(grownBytes / MEBIBYTE)} MiB`;
  console.log(`| ${peer} ${version} | ${whole(sentCount)} | ${whole(refusedCount)} | ${grown} |`);
  if (peer !== "millrace" || grownBytes <= LIMIT_BYTES) return;
  console.error(`millrace grew by ${grown}; at most ${LIMIT_BYTES / MEBIBYTE} MiB are allowed`);
  process.exitCode = 1;
}
