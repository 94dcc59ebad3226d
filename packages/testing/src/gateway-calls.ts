/** A gateway as its clients see it: calls of its HTTP API, and what they put into the log behind it. */

import { randomUUID } from "node:crypto";
import type { Address } from "@millrace/base";
import { type ConsumedRecord, Reader } from "@millrace/client";
import { type HttpAnswer, httpCall } from "./http-call.ts";

export interface CalledGateway {
  readonly address: Address;
}

export interface GatewayCalls {
  /** on: another gateway than the usual one. */
  call(method: string, path: string, body?: object | string, on?: CalledGateway, headers?: object): Promise<HttpAnswer>;
  /** A call of the schema registry. */
  schemas(method: string, path: string, body?: object): Promise<HttpAnswer>;
  /** Makes a topic of one partition; returns its name. */
  createTopic(on?: CalledGateway): Promise<string>;
  produce(
    topic: string,
    query: Record<string, string>,
    body: string,
    on?: CalledGateway,
    headers?: object,
  ): Promise<HttpAnswer>;
  /** The first record of a topic, once there is one. */
  readOne(topic: string): Promise<ConsumedRecord>;
}

/** usual: the gateway that is called where no other is named; it may be opened later. server: the broker's address. */
export function gatewayCalls(usual: () => CalledGateway, server: () => string): GatewayCalls {
  const call: GatewayCalls["call"] = (method, path, body, on = usual(), headers = {}) => {
    const text = typeof body === "object" ? JSON.stringify(body) : body;
    return httpCall(method, `http://127.0.0.1:${on.address.port}${path}`, text, { ...headers });
  };
  return {
    call,
    schemas: (method, path, body) => call(method, `/schemas${path}`, body),
    async createTopic(on) {
      const topic = `topic-${randomUUID()}`;
      await call("POST", "/api/topics", { name: topic, partitions: 1 }, on);
      return topic;
    },
    produce: (topic, query, body, on, headers) =>
      call("POST", `/api/topics/${topic}/produce?${new URLSearchParams(query)}`, body, on, headers),
    async readOne(topic) {
      await using reader = new Reader({ bootstrapServers: server(), topic, from: "earliest" });
      for (;;) {
        const [record] = await reader.read();
        if (record !== undefined) return record;
      }
    },
  };
}
