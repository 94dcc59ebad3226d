/** An honest client: a record twenty times a second, each on a connection that is kept. */

import { Agent, request } from "node:http";

const EVERY_MS = 50;
const BODY = '{"records":[{"key":"user-1","value":{"amount":12.5}}]}';

export class Neighbour {
  #server;
  #agent = new Agent({ keepAlive: true, maxSockets: 8 });
  #timer = null;
  #pending = new Set();
  #statuses = new Map();
  #latenciesMs = [];

  constructor(server) {
    this.#server = server;
  }

  start() {
    this.#timer = setInterval(() => {
      const asked = this.#ask().finally(() => this.#pending.delete(asked));
      this.#pending.add(asked);
    }, EVERY_MS);
  }

  /** How often it was answered with what, and how fast. */
  async stop() {
    clearInterval(this.#timer);
    await Promise.all(this.#pending);
    this.#agent.destroy();
    if (this.#latenciesMs.length === 0) return "none";
    const sorted = this.#latenciesMs.sort((a, b) => a - b);
    const at = (share) => sorted[Math.min(sorted.length - 1, Math.floor(share * sorted.length))].toFixed(1);
    const counts = [...this.#statuses].map(([status, count]) => `${count} × ${status}`).join(", ");
    return `${counts}; p50 ${at(0.5)} ms, p99 ${at(0.99)} ms, worst ${at(1)} ms`;
  }

  #ask() {
    const { host, port } = this.#server;
    const startedMs = performance.now();
    return new Promise((resolve) => {
      const done = (status) => {
        this.#statuses.set(status, (this.#statuses.get(status) ?? 0) + 1);
        this.#latenciesMs.push(performance.now() - startedMs);
        resolve();
      };
      const asked = request({ host, port, agent: this.#agent, method: "POST", path: "/api/topics/orders/produce" });
      asked.on("response", (response) => response.resume().on("end", () => done(response.statusCode)));
      asked.on("error", (error) => done(error.code));
      asked.end(BODY);
    });
  }
}
