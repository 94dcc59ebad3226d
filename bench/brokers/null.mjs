/** A broker that keeps nothing and acknowledges everything: what is measured against it is the client. */

import { createServer } from "node:net";
import {
  apiVersionsApi,
  decodeRequestHeader,
  encodeResponse,
  FrameSplitter,
  initProducerIdApi,
  metadataApi,
  produceApi,
  Reader,
  skipHeaderTags,
} from "@millrace/protocol";
import { serveBench } from "./serve-bench.mjs";

const FRAME_LIMIT_BYTES = 100 * 1024 * 1024;

/** Topic ids came with Metadata 10 and Produce 13; by name is enough here. */
const versionsOf = new Map([
  [produceApi, [3, 12]],
  [metadataApi, [0, 9]],
  [apiVersionsApi, [0, 4]],
  [initProducerIdApi, [0, 4]],
]);
const apis = new Map([...versionsOf.keys()].map((api) => [api.key, api]));
const partitionCount = Number(process.argv[2]);

const server = createServer({ noDelay: true }, (socket) => {
  const frames = new FrameSplitter(FRAME_LIMIT_BYTES);
  socket.on("error", () => {});
  socket.on("data", (bytes) => {
    socket.cork();
    frames.push(bytes, (frame) => {
      for (const chunk of respond(frame)) socket.write(chunk);
    });
    socket.uncork();
  });
});
server.listen(0, "127.0.0.1", () => {
  serveBench(`127.0.0.1:${server.address().port}`, async () => {
    server.close();
  });
});

function respond(frame) {
  const reader = new Reader(frame);
  const { apiKey, apiVersion, correlationId } = decodeRequestHeader(reader);
  const api = apis.get(apiKey);
  if (api === undefined) throw new Error(`the null broker has no API ${apiKey}`);
  // A client's first ApiVersions may be newer than we are: it is answered in version 0 (KIP-511).
  if (api === apiVersionsApi && apiVersion > 4)
    return encodeResponse(api, 0, correlationId, { ...versions(), errorCode: 35 });
  if (apiVersion >= api.flexibleSince) skipHeaderTags(reader);
  return encodeResponse(api, apiVersion, correlationId, answer(api, api.request.decode(reader, apiVersion)));
}

function answer(api, request) {
  switch (api) {
    case produceApi:
      return acknowledge(request);
    case metadataApi:
      return metadata(request);
    case initProducerIdApi:
      return { errorCode: 0, producerId: 1n, producerEpoch: 0 };
    default:
      return versions();
  }
}

function acknowledge({ topicData }) {
  return {
    responses: topicData.map(({ name, partitionData }) => ({
      name,
      partitionResponses: partitionData.map(({ index }) => ({ index, errorCode: 0, baseOffset: 0n })),
    })),
  };
}

function metadata({ topics }) {
  const { port } = server.address();
  return {
    brokers: [{ nodeId: 1, host: "127.0.0.1", port }],
    clusterId: "null",
    controllerId: 1,
    topics: (topics ?? []).map(({ name }) => ({
      errorCode: 0,
      name,
      partitions: Array.from({ length: partitionCount }, (_, partitionIndex) => ({
        errorCode: 0,
        partitionIndex,
        leaderId: 1,
        replicaNodes: [1],
        isrNodes: [1],
      })),
    })),
  };
}

function versions() {
  const apiKeys = [...versionsOf].map(([api, [minVersion, maxVersion]]) => ({
    apiKey: api.key,
    minVersion,
    maxVersion,
  }));
  return { errorCode: 0, apiKeys };
}
