/** Sends one prepared request over and over on kept-alive connections: the least that a client can cost. */

import { connect } from "node:net";

const HEAD_END = Buffer.from("\r\n\r\n");

/** Where these bytes end: HTTP answers with a content-length, which all three servers give. */
class AnswerReader {
  #rest = null;

  /** How many answers are whole with these bytes. Throws for one that is no success. */
  push(bytes) {
    let data = this.#rest === null ? bytes : Buffer.concat([this.#rest, bytes]);
    let count = 0;
    for (;;) {
      const headEnd = data.indexOf(HEAD_END);
      if (headEnd < 0) break;
      const head = data.toString("latin1", 0, headEnd);
      if (!head.startsWith("HTTP/1.1 2")) throw new Error(`answered with ${data.toString("latin1", 0, 500)}`);
      const end = headEnd + HEAD_END.length + Number(/content-length: (\d+)/i.exec(head)[1]);
      if (end > data.length) break;
      data = data.subarray(end);
      count += 1;
    }
    this.#rest = data.length === 0 ? null : data;
    return count;
  }
}

/**
 * Opens the connections and keeps each busy with one request at a time, or, with requestsPerSecond, sends on a schedule
 * that does not wait for answers: latencies then count from when a request was due.
 */
export function startLoad({ address, connections, request, requestsPerSecond }, tally) {
  const [host, port] = address.split(":");
  const sockets = Array.from({ length: connections }, () => {
    const socket = connect(Number(port), host);
    socket.setNoDelay(true);
    const reader = new AnswerReader();
    const due = [];
    const send = (dueMs) => {
      due.push(dueMs);
      socket.write(request);
    };
    socket.on("data", (bytes) => {
      for (let left = reader.push(bytes); left > 0; left--) {
        tally.add(performance.now() - due.shift());
        if (requestsPerSecond === undefined && tally.isRunning) send(performance.now());
      }
    });
    socket.on("error", (error) => {
      if (tally.isRunning) throw error;
    });
    if (requestsPerSecond === undefined) socket.once("connect", () => send(performance.now()));
    return { socket, send };
  });
  const timer = requestsPerSecond === undefined ? null : startSchedule(sockets, requestsPerSecond);
  return () => {
    clearInterval(timer);
    for (const { socket } of sockets) socket.destroy();
  };
}

function startSchedule(sockets, requestsPerSecond) {
  const startedMs = performance.now();
  let sentCount = 0;
  return setInterval(() => {
    const nowMs = performance.now();
    for (;;) {
      const dueMs = startedMs + (sentCount / requestsPerSecond) * 1000;
      if (dueMs > nowMs) return;
      sockets[sentCount % sockets.length].send(dueMs);
      sentCount += 1;
    }
  }, 1);
}
