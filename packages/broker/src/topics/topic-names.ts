/** Names that a topic may have, beside those that are taken, and the ids that tell topics of one name apart. */

import type { Random } from "@millrace/base";
import { KafkaError } from "@millrace/protocol";

const MAX_NAME_LENGTH = 249;

/** Throws KafkaError INVALID_TOPIC_EXCEPTION. Source: Kafka, org.apache.kafka.common.internals.Topic. */
export function checkTopicName(name: string): void {
  const problem = problemOfName(name);
  if (problem !== null) throw new KafkaError("INVALID_TOPIC_EXCEPTION", `topic name "${name}" ${problem}`);
}

function problemOfName(name: string): string | null {
  if (name === "") return "is empty";
  if (name === "." || name === "..") return 'is "." or ".."';
  if (name.length > MAX_NAME_LENGTH) return `is longer than ${MAX_NAME_LENGTH} characters`;
  if (/^[A-Za-z0-9._-]+$/.test(name)) return null;
  return 'has other characters than ASCII letters, digits, ".", "_" and "-"';
}

/** Two topics whose names share it cannot be together: their metrics would be the same (as in Kafka). */
export function collisionKey(name: string): string {
  return name.replaceAll(".", "_");
}

/** One that a command line does not take for an option. */
export function newTopicId(random: Random): string {
  for (;;) {
    const topicId = random.bytes(16).toString("base64url");
    if (!topicId.startsWith("-")) return topicId;
  }
}
