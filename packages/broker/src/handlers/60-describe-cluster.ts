/** DescribeCluster: the cluster's id, and its only broker. v0–1. */

import { describeClusterApi, KafkaError } from "@millrace/protocol";
import { defineHandler, NO_ERROR } from "../handler.ts";
import { clusterOperations } from "./authorized-operations.ts";

const BROKER_ENDPOINTS = 1;

export const describeClusterHandler = defineHandler({
  api: describeClusterApi,
  versions: [0, 1],

  handle({ endpointType, includeClusterAuthorizedOperations }, context) {
    const { broker, advertised } = context;
    if (endpointType !== BROKER_ENDPOINTS) {
      throw new KafkaError("MISMATCHED_ENDPOINT_TYPE", "this address is a broker's, not a controller's");
    }
    const { nodeId } = broker.options;
    const { host, port } = advertised;
    return {
      errorCode: NO_ERROR,
      clusterId: broker.clusterId,
      controllerId: nodeId,
      brokers: [{ brokerId: nodeId, host, port }],
      clusterAuthorizedOperations: clusterOperations(includeClusterAuthorizedOperations, context),
    };
  },

  errorResponse: (_request, errorCode, { broker }) => ({ errorCode, clusterId: broker.clusterId, brokers: [] }),
});
