/** The clients of Node that can be measured, loaded when they are. */

export const peers = {
  millrace: () => import("./millrace.mjs"),
  kafkajs: () => import("./kafkajs.mjs"),
  "kafkajs-idempotent": () => import("./kafkajs-idempotent.mjs"),
  platformatic: () => import("./platformatic.mjs"),
  "bare-socket": () => import("./bare-socket.mjs"),
};
