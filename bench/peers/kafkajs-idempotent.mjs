/** kafkajs with what Millrace does by default: no record twice, none out of order. */

import { connect as connectKafkajs } from "./kafkajs.mjs";

export const connect = (task) => connectKafkajs({ ...task, idempotent: true });
