/** DescribeCluster (key 60): the brokers of the cluster and its controller. */

import { array, boolean, defineApi, int8, int16, int32, string, struct } from "../schema.ts";

export const describeClusterApi = defineApi({
  key: 60,
  name: "DescribeCluster",
  versions: [0, 2],
  flexibleSince: 0,
  request: {
    includeClusterAuthorizedOperations: boolean(),
    endpointType: int8().since(1).default(1),
    includeFencedBrokers: boolean().since(2).default(false),
  },
  response: {
    throttleTimeMs: int32().default(0),
    errorCode: int16(),
    errorMessage: string().nullable().default(null),
    endpointType: int8().since(1).default(1),
    clusterId: string(),
    controllerId: int32().default(-1),
    brokers: array(
      struct({
        brokerId: int32(),
        host: string(),
        port: int32(),
        rack: string().nullable().default(null),
        isFenced: boolean().since(2).default(false),
      }),
    ),
    clusterAuthorizedOperations: int32().default(-2147483648),
  },
});
