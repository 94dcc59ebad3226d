/** Every API that we can write and read, one file each, and the messages that stand inside records. */

import type { Api } from "../schema.ts";
import { addOffsetsToTxnApi } from "./add-offsets-to-txn.ts";
import { addPartitionsToTxnApi } from "./add-partitions-to-txn.ts";
import { alterClientQuotasApi } from "./alter-client-quotas.ts";
import { alterConfigsApi } from "./alter-configs.ts";
import { alterUserScramCredentialsApi } from "./alter-user-scram-credentials.ts";
import { apiVersionsApi } from "./api-versions.ts";
import { createAclsApi } from "./create-acls.ts";
import { createPartitionsApi } from "./create-partitions.ts";
import { createTopicsApi } from "./create-topics.ts";
import { deleteAclsApi } from "./delete-acls.ts";
import { deleteGroupsApi } from "./delete-groups.ts";
import { deleteRecordsApi } from "./delete-records.ts";
import { deleteTopicsApi } from "./delete-topics.ts";
import { describeAclsApi } from "./describe-acls.ts";
import { describeClientQuotasApi } from "./describe-client-quotas.ts";
import { describeClusterApi } from "./describe-cluster.ts";
import { describeConfigsApi } from "./describe-configs.ts";
import { describeGroupsApi } from "./describe-groups.ts";
import { describeLogDirsApi } from "./describe-log-dirs.ts";
import { describeProducersApi } from "./describe-producers.ts";
import { describeTopicPartitionsApi } from "./describe-topic-partitions.ts";
import { describeTransactionsApi } from "./describe-transactions.ts";
import { describeUserScramCredentialsApi } from "./describe-user-scram-credentials.ts";
import { electLeadersApi } from "./elect-leaders.ts";
import { endTxnApi } from "./end-txn.ts";
import { fetchApi } from "./fetch.ts";
import { findCoordinatorApi } from "./find-coordinator.ts";
import { heartbeatApi } from "./heartbeat.ts";
import { incrementalAlterConfigsApi } from "./incremental-alter-configs.ts";
import { initProducerIdApi } from "./init-producer-id.ts";
import { joinGroupApi } from "./join-group.ts";
import { leaveGroupApi } from "./leave-group.ts";
import { listGroupsApi } from "./list-groups.ts";
import { listOffsetsApi } from "./list-offsets.ts";
import { listPartitionReassignmentsApi } from "./list-partition-reassignments.ts";
import { listTransactionsApi } from "./list-transactions.ts";
import { metadataApi } from "./metadata.ts";
import { offsetCommitApi } from "./offset-commit.ts";
import { offsetDeleteApi } from "./offset-delete.ts";
import { offsetFetchApi } from "./offset-fetch.ts";
import { offsetForLeaderEpochApi } from "./offset-for-leader-epoch.ts";
import { produceApi } from "./produce.ts";
import { saslAuthenticateApi } from "./sasl-authenticate.ts";
import { saslHandshakeApi } from "./sasl-handshake.ts";
import { syncGroupApi } from "./sync-group.ts";
import { txnOffsetCommitApi } from "./txn-offset-commit.ts";

export * from "./add-offsets-to-txn.ts";
export * from "./add-partitions-to-txn.ts";
export * from "./alter-client-quotas.ts";
export * from "./alter-configs.ts";
export * from "./alter-user-scram-credentials.ts";
export * from "./api-versions.ts";
export * from "./create-acls.ts";
export * from "./create-partitions.ts";
export * from "./create-topics.ts";
export * from "./delete-acls.ts";
export * from "./delete-groups.ts";
export * from "./delete-records.ts";
export * from "./delete-topics.ts";
export * from "./describe-acls.ts";
export * from "./describe-client-quotas.ts";
export * from "./describe-cluster.ts";
export * from "./describe-configs.ts";
export * from "./describe-groups.ts";
export * from "./describe-log-dirs.ts";
export * from "./describe-producers.ts";
export * from "./describe-topic-partitions.ts";
export * from "./describe-transactions.ts";
export * from "./describe-user-scram-credentials.ts";
export * from "./elect-leaders.ts";
export * from "./end-txn.ts";
export * from "./fetch.ts";
export * from "./find-coordinator.ts";
export * from "./heartbeat.ts";
export * from "./incremental-alter-configs.ts";
export * from "./init-producer-id.ts";
export * from "./internal/index.ts";
export * from "./join-group.ts";
export * from "./leave-group.ts";
export * from "./list-groups.ts";
export * from "./list-offsets.ts";
export * from "./list-partition-reassignments.ts";
export * from "./list-transactions.ts";
export * from "./metadata.ts";
export * from "./offset-commit.ts";
export * from "./offset-delete.ts";
export * from "./offset-fetch.ts";
export * from "./offset-for-leader-epoch.ts";
export * from "./produce.ts";
export * from "./sasl-authenticate.ts";
export * from "./sasl-handshake.ts";
export * from "./sync-group.ts";
export * from "./txn-offset-commit.ts";

/** In the order of their keys. */
export const apis: readonly Api[] = [
  produceApi,
  fetchApi,
  listOffsetsApi,
  metadataApi,
  offsetCommitApi,
  offsetFetchApi,
  findCoordinatorApi,
  joinGroupApi,
  heartbeatApi,
  leaveGroupApi,
  syncGroupApi,
  describeGroupsApi,
  listGroupsApi,
  saslHandshakeApi,
  apiVersionsApi,
  createTopicsApi,
  deleteTopicsApi,
  deleteRecordsApi,
  initProducerIdApi,
  offsetForLeaderEpochApi,
  addPartitionsToTxnApi,
  addOffsetsToTxnApi,
  endTxnApi,
  txnOffsetCommitApi,
  describeAclsApi,
  createAclsApi,
  deleteAclsApi,
  describeConfigsApi,
  alterConfigsApi,
  describeLogDirsApi,
  saslAuthenticateApi,
  createPartitionsApi,
  deleteGroupsApi,
  electLeadersApi,
  incrementalAlterConfigsApi,
  listPartitionReassignmentsApi,
  offsetDeleteApi,
  describeClientQuotasApi,
  alterClientQuotasApi,
  describeUserScramCredentialsApi,
  alterUserScramCredentialsApi,
  describeClusterApi,
  describeProducersApi,
  describeTransactionsApi,
  listTransactionsApi,
  describeTopicPartitionsApi,
];

export const apiByKey: ReadonlyMap<number, Api> = new Map(apis.map((api) => [api.key, api]));
