/** Kafka's error table, and our own codes in its style: what each means for a retry, over HTTP, and for the person who reads it. */

/** A name of Kafka's error table, or ours in that style. */
export type ErrorCode = keyof typeof table;

export interface ErrorEntry {
  /** The number on the wire. Our own codes have none there: -1, as which they would travel. */
  readonly number: number;
  readonly code: ErrorCode;
  /** The same request may work later, unchanged. */
  readonly retriable: boolean;
  /** What we know about topics and their leaders is stale; ask again before the retry. */
  readonly refreshMetadata: boolean;
  readonly httpStatus: number;
  /** What to do about it, in a sentence. */
  readonly advice: string;
}

/**
 * The entry of a number that came over the wire.
 *
 * A number that Kafka has given to an error after this table was written is treated as UNKNOWN_SERVER_ERROR, and keeps
 * its number.
 */
export function errorByNumber(errorNumber: number): ErrorEntry {
  const entry = entryByNumber.get(errorNumber);
  if (entry !== undefined) return entry;
  const advice = `The broker answered with error ${errorNumber}, which this version of Millrace does not know.`;
  return { ...entryByCode.UNKNOWN_SERVER_ERROR, number: errorNumber, advice };
}

export function errorByCode(code: ErrorCode): ErrorEntry {
  return entryByCode[code];
}

/** Tells a code of the table from any other text, such as one that came over HTTP. */
export function isErrorCode(text: string): text is ErrorCode {
  return Object.hasOwn(table, text);
}

type Row = Omit<ErrorEntry, "code">;

/** Will fail again if tried again. */
function final(number: number, httpStatus: number, advice: string): Row {
  return { number, retriable: false, refreshMetadata: false, httpStatus, advice };
}

/** May work if tried again. */
function retriable(number: number, httpStatus: number, advice: string): Row {
  return { number, retriable: true, refreshMetadata: false, httpStatus, advice };
}

/** May work if tried again with fresh metadata: Kafka's InvalidMetadataException. */
function stale(number: number, httpStatus: number, advice: string): Row {
  return { number, retriable: true, refreshMetadata: true, httpStatus, advice };
}

/** Source: Kafka 4.3, org.apache.kafka.common.protocol.Errors; statuses and advice are ours. */
const kafkaTable = {
  UNKNOWN_SERVER_ERROR: final(-1, 500, "Look for the cause in the broker's log."),
  NONE: final(0, 200, "Nothing went wrong."),
  OFFSET_OUT_OF_RANGE: final(1, 416, "Read from an offset between the partition's earliest and latest."),
  CORRUPT_MESSAGE: retriable(
    2,
    400,
    "Check the network between client and broker, and that records for a compacted topic have a key.",
  ),
  UNKNOWN_TOPIC_OR_PARTITION: stale(3, 404, "Create the topic, or check its name and the partition's number."),
  INVALID_FETCH_SIZE: final(4, 400, "Ask for a positive number of bytes."),
  LEADER_NOT_AVAILABLE: stale(5, 503, "Wait until the partition has elected a leader."),
  NOT_LEADER_OR_FOLLOWER: stale(6, 503, "Ask the partition's leader, which fresh metadata names."),
  REQUEST_TIMED_OUT: retriable(7, 504, "Try again; if it stays, the broker is overloaded or out of reach."),
  BROKER_NOT_AVAILABLE: final(8, 503, "Check that the broker runs."),
  REPLICA_NOT_AVAILABLE: stale(9, 503, "Wait until the replica is back, or ask another one."),
  MESSAGE_TOO_LARGE: final(10, 413, "Send smaller records, or raise max.message.bytes of the topic."),
  STALE_CONTROLLER_EPOCH: final(11, 503, "The controller has moved; brokers settle this among themselves."),
  OFFSET_METADATA_TOO_LARGE: final(12, 413, "Commit offsets with less metadata."),
  NETWORK_EXCEPTION: stale(13, 503, "The broker closed the connection before it answered; check that it runs."),
  COORDINATOR_LOAD_IN_PROGRESS: retriable(14, 503, "Wait until the coordinator has loaded its state."),
  COORDINATOR_NOT_AVAILABLE: retriable(15, 503, "Wait until a coordinator has been elected."),
  NOT_COORDINATOR: retriable(16, 503, "Find the coordinator anew and ask that one."),
  INVALID_TOPIC_EXCEPTION: final(
    17,
    400,
    "Name the topic with 1 to 249 of the characters a-z, A-Z, 0-9, dot, underscore and hyphen, and not . or ..",
  ),
  RECORD_LIST_TOO_LARGE: final(18, 413, "Send smaller batches than segment.bytes of the topic."),
  NOT_ENOUGH_REPLICAS: retriable(19, 503, "Bring back replicas until min.insync.replicas of the topic is met."),
  NOT_ENOUGH_REPLICAS_AFTER_APPEND: retriable(
    20,
    503,
    "The records are in the leader's log but on too few replicas; bring back replicas.",
  ),
  INVALID_REQUIRED_ACKS: final(21, 400, "Set acks to 0, 1 or all (-1)."),
  ILLEGAL_GENERATION: final(22, 409, "Join the group again: it has rebalanced without this member."),
  INCONSISTENT_GROUP_PROTOCOL: final(23, 409, "Give all members of the group an assignor in common."),
  INVALID_GROUP_ID: final(24, 400, "Set a group id that is not empty."),
  UNKNOWN_MEMBER_ID: final(25, 404, "Join the group again: the coordinator does not know this member."),
  INVALID_SESSION_TIMEOUT: final(
    26,
    400,
    "Set session.timeout.ms between the broker's group.min.session.timeout.ms and group.max.session.timeout.ms.",
  ),
  REBALANCE_IN_PROGRESS: final(27, 409, "Join the group again: it is rebalancing."),
  INVALID_COMMIT_OFFSET_SIZE: final(28, 413, "Commit offsets with less metadata."),
  TOPIC_AUTHORIZATION_FAILED: final(29, 403, "Give the user an ACL for this topic."),
  GROUP_AUTHORIZATION_FAILED: final(30, 403, "Give the user an ACL for this group."),
  CLUSTER_AUTHORIZATION_FAILED: final(31, 403, "Give the user an ACL for the cluster."),
  INVALID_TIMESTAMP: final(32, 400, "Send timestamps within the topic's limits of difference from the broker's clock."),
  UNSUPPORTED_SASL_MECHANISM: final(33, 401, "Use a SASL mechanism that the broker has enabled."),
  ILLEGAL_SASL_STATE: final(34, 400, "Authenticate first: this listener asks for SASL before anything else."),
  UNSUPPORTED_VERSION: final(35, 501, "Use a broker that speaks this version of the API."),
  TOPIC_ALREADY_EXISTS: final(36, 409, "Use the topic that is there, or another name."),
  INVALID_PARTITIONS: final(37, 400, "Ask for at least one partition, and never for fewer than there are."),
  INVALID_REPLICATION_FACTOR: final(38, 400, "Ask for at least one replica, and for no more than there are brokers."),
  INVALID_REPLICA_ASSIGNMENT: final(39, 400, "Assign each partition to brokers that exist, each of them once."),
  INVALID_CONFIG: final(40, 400, "Correct the option that the message names."),
  NOT_CONTROLLER: retriable(41, 503, "Ask the controller, which fresh metadata names."),
  INVALID_REQUEST: final(42, 400, "Correct the request as the message says; the broker's log may say more."),
  UNSUPPORTED_FOR_MESSAGE_FORMAT: final(43, 501, "Upgrade the topic's message format."),
  POLICY_VIOLATION: final(44, 403, "Keep to the policy that the broker's operator has set."),
  OUT_OF_ORDER_SEQUENCE_NUMBER: final(
    45,
    500,
    "Records before these were lost on their way; the producer starts anew.",
  ),
  DUPLICATE_SEQUENCE_NUMBER: final(46, 409, "Nothing: the records are in the log already."),
  INVALID_PRODUCER_EPOCH: final(47, 409, "Close this producer: another with its transactional id has taken over."),
  INVALID_TXN_STATE: final(48, 409, "Begin a transaction before writing in it, and end it once."),
  INVALID_PRODUCER_ID_MAPPING: final(49, 409, "Start the producer anew: its transactional id has expired."),
  INVALID_TRANSACTION_TIMEOUT: final(
    50,
    400,
    "Set transaction.timeout.ms within the broker's transaction.max.timeout.ms.",
  ),
  CONCURRENT_TRANSACTIONS: retriable(51, 409, "Wait until the previous transaction of this id has ended."),
  TRANSACTION_COORDINATOR_FENCED: final(52, 409, "The coordinator has moved; brokers settle this among themselves."),
  TRANSACTIONAL_ID_AUTHORIZATION_FAILED: final(53, 403, "Give the user an ACL for this transactional id."),
  SECURITY_DISABLED: final(54, 501, "Switch on an authorizer in the broker before using ACLs."),
  OPERATION_NOT_ATTEMPTED: final(55, 409, "Try again without the operation that failed in the same request."),
  KAFKA_STORAGE_ERROR: stale(56, 507, "Check the broker's disk: it is full or failing."),
  LOG_DIR_NOT_FOUND: final(57, 404, "Name a log directory of the broker's configuration."),
  SASL_AUTHENTICATION_FAILED: final(58, 401, "Check user name, password and mechanism."),
  UNKNOWN_PRODUCER_ID: final(59, 409, "The broker has forgotten this producer; the producer starts anew."),
  REASSIGNMENT_IN_PROGRESS: final(60, 409, "Wait until the partition's reassignment has ended."),
  DELEGATION_TOKEN_AUTH_DISABLED: final(61, 501, "Switch on delegation tokens in the broker."),
  DELEGATION_TOKEN_NOT_FOUND: final(62, 404, "Use a delegation token that exists."),
  DELEGATION_TOKEN_OWNER_MISMATCH: final(63, 403, "Use the token as its owner or renewer."),
  DELEGATION_TOKEN_REQUEST_NOT_ALLOWED: final(64, 403, "Ask for tokens over SASL or TLS with a client certificate."),
  DELEGATION_TOKEN_AUTHORIZATION_FAILED: final(65, 403, "Give the user an ACL for delegation tokens."),
  DELEGATION_TOKEN_EXPIRED: final(66, 401, "Ask for a new delegation token."),
  INVALID_PRINCIPAL_TYPE: final(67, 400, "Name the principal as User:name."),
  NON_EMPTY_GROUP: final(68, 409, "Stop the group's members first."),
  GROUP_ID_NOT_FOUND: final(69, 404, "Check the group id."),
  FETCH_SESSION_ID_NOT_FOUND: retriable(70, 409, "Start a new fetch session."),
  INVALID_FETCH_SESSION_EPOCH: retriable(71, 409, "Start a new fetch session."),
  LISTENER_NOT_FOUND: stale(72, 503, "Give the leader a listener of the name that this client connects to."),
  TOPIC_DELETION_DISABLED: final(73, 403, "Set delete.topic.enable in the broker."),
  FENCED_LEADER_EPOCH: stale(74, 503, "Refresh the metadata: the partition has a newer leader."),
  UNKNOWN_LEADER_EPOCH: retriable(75, 503, "Wait until this broker has heard of the newer leader."),
  UNSUPPORTED_COMPRESSION_TYPE: final(76, 415, "Use another compression, or a client that knows this one."),
  STALE_BROKER_EPOCH: final(77, 409, "The broker has restarted; brokers settle this among themselves."),
  OFFSET_NOT_AVAILABLE: retriable(78, 503, "Wait until the new leader's high watermark has caught up."),
  MEMBER_ID_REQUIRED: final(79, 409, "Join the group again with the member id from this answer."),
  PREFERRED_LEADER_NOT_AVAILABLE: stale(80, 503, "Bring back the partition's first replica."),
  GROUP_MAX_SIZE_REACHED: final(81, 409, "Run fewer members, or raise group.max.size in the broker."),
  FENCED_INSTANCE_ID: final(82, 409, "Give each member a group.instance.id of its own."),
  ELIGIBLE_LEADERS_NOT_AVAILABLE: stale(83, 503, "Bring back a replica that may lead the partition."),
  ELECTION_NOT_NEEDED: stale(84, 409, "Nothing: the wanted replica leads already."),
  NO_REASSIGNMENT_IN_PROGRESS: final(85, 409, "Nothing: there is no reassignment to cancel."),
  GROUP_SUBSCRIBED_TO_TOPIC: final(86, 409, "Stop the group's members that read this topic first."),
  INVALID_RECORD: final(87, 400, "Correct the record as the message says."),
  UNSTABLE_OFFSET_COMMIT: retriable(88, 503, "Wait until the transaction that commits these offsets has ended."),
  THROTTLING_QUOTA_EXCEEDED: retriable(89, 429, "Slow down: the quota of this user or client is used up."),
  PRODUCER_FENCED: final(90, 409, "Close this producer: another with its transactional id has taken over."),
  RESOURCE_NOT_FOUND: final(91, 404, "Check the names in the request."),
  DUPLICATE_RESOURCE: final(92, 400, "Name each resource once in a request."),
  UNACCEPTABLE_CREDENTIAL: final(93, 400, "Choose a credential that the broker's rules accept."),
  INCONSISTENT_VOTER_SET: final(94, 409, "Give all controllers the same set of voters."),
  INVALID_UPDATE_VERSION: final(95, 409, "Read the newest version and update that."),
  FEATURE_UPDATE_FAILED: final(96, 500, "Look for the cause in the controller's log."),
  PRINCIPAL_DESERIALIZATION_FAILURE: final(97, 500, "Give all brokers the same principal builder."),
  SNAPSHOT_NOT_FOUND: final(98, 404, "Controllers settle this among themselves."),
  POSITION_OUT_OF_RANGE: final(99, 416, "Controllers settle this among themselves."),
  UNKNOWN_TOPIC_ID: stale(100, 404, "Refresh the metadata: the topic was deleted, or created anew with another id."),
  DUPLICATE_BROKER_REGISTRATION: final(101, 409, "Give each broker a node.id of its own."),
  BROKER_ID_NOT_REGISTERED: final(102, 404, "Name the id of a broker that runs."),
  INCONSISTENT_TOPIC_ID: stale(103, 409, "Refresh the metadata: the topic was created anew with another id."),
  INCONSISTENT_CLUSTER_ID: final(104, 409, "Check the addresses: they lead to another cluster."),
  TRANSACTIONAL_ID_NOT_FOUND: final(105, 404, "Check the transactional id."),
  FETCH_SESSION_TOPIC_ID_ERROR: retriable(106, 409, "Start a new fetch session."),
  INELIGIBLE_REPLICA: final(107, 409, "Brokers settle this among themselves."),
  NEW_LEADER_ELECTED: final(108, 409, "Brokers settle this among themselves."),
  OFFSET_MOVED_TO_TIERED_STORAGE: final(109, 416, "Read this offset with a client that may read from tiered storage."),
  FENCED_MEMBER_EPOCH: final(110, 409, "Give up all partitions and join the group again."),
  UNRELEASED_INSTANCE_ID: final(111, 409, "Stop the other member with this group.instance.id first."),
  UNSUPPORTED_ASSIGNOR: final(112, 400, "Use an assignor that the broker has."),
  STALE_MEMBER_EPOCH: final(113, 409, "Send a heartbeat, and try again with the epoch it brings."),
  MISMATCHED_ENDPOINT_TYPE: final(114, 400, "Ask a broker what brokers answer, and a controller what controllers do."),
  UNSUPPORTED_ENDPOINT_TYPE: final(115, 400, "Ask another kind of endpoint."),
  UNKNOWN_CONTROLLER_ID: final(116, 404, "Name the id of a controller that runs."),
  UNKNOWN_SUBSCRIPTION_ID: final(117, 404, "Ask for the telemetry subscription anew."),
  TELEMETRY_TOO_LARGE: final(118, 413, "Push less telemetry at once."),
  INVALID_REGISTRATION: final(119, 400, "Look for the cause in the controller's log."),
  TRANSACTION_ABORTABLE: final(120, 409, "Abort the transaction; the producer can be used on."),
  INVALID_RECORD_STATE: final(121, 409, "The record was acknowledged already, or its lock has run out."),
  SHARE_SESSION_NOT_FOUND: retriable(122, 409, "Start a new share session."),
  INVALID_SHARE_SESSION_EPOCH: retriable(123, 409, "Start a new share session."),
  FENCED_STATE_EPOCH: final(124, 409, "Brokers settle this among themselves."),
  INVALID_VOTER_KEY: final(125, 400, "Name the voter with the directory id that it has."),
  DUPLICATE_VOTER: final(126, 409, "Nothing: the voter is in the set already."),
  VOTER_NOT_FOUND: final(127, 404, "Name a voter that is in the set."),
  INVALID_REGULAR_EXPRESSION: final(128, 400, "Write the subscription's pattern as RE2 does."),
  REBOOTSTRAP_REQUIRED: final(129, 503, "Connect anew through the bootstrap servers."),
  STREAMS_INVALID_TOPOLOGY: final(130, 400, "Correct the topology as the message says."),
  STREAMS_INVALID_TOPOLOGY_EPOCH: final(131, 409, "Send the topology with its current epoch."),
  STREAMS_TOPOLOGY_FENCED: final(132, 409, "Update the application: a newer topology is in use."),
  SHARE_SESSION_LIMIT_REACHED: retriable(133, 503, "Run fewer share consumers against this broker, or wait."),
} satisfies Record<string, Row>;

const NO_NUMBER = -1;

/** What fails before a broker was asked, or without its saying so. */
const ownTable = {
  MALFORMED_MESSAGE: final(
    NO_NUMBER,
    400,
    "Check that both ends speak the Kafka protocol and that nothing between them cuts it.",
  ),
  CONNECTION_FAILED: stale(
    NO_NUMBER,
    503,
    "Check the address, that the broker runs, and that its advertised address is reachable.",
  ),
  METADATA_TIMEOUT: retriable(NO_NUMBER, 504, "Check that the brokers are reachable and that the topic exists."),
  SERIALIZATION_FAILED: final(NO_NUMBER, 400, "Give a key and value that the serializer takes."),
  SCHEMA_REGISTRY_FAILED: final(
    NO_NUMBER,
    502,
    "Look at the registry's answer in the message, and at its address and credentials.",
  ),
  BUFFER_EXHAUSTED: retriable(NO_NUMBER, 503, "Send slower, or raise bufferMemory or maxBlockMs."),
  DELIVERY_TIMEOUT: final(
    NO_NUMBER,
    504,
    "Look for the cause in the message; raise deliveryTimeoutMs to bear longer outages.",
  ),
  CIRCUIT_OPEN: retriable(NO_NUMBER, 503, "Wait: the broker failed many times in a row and is left alone for a while."),
  ABORTED: final(NO_NUMBER, 499, "Nothing: the caller's signal asked for it."),
  PURGED: final(NO_NUMBER, 503, "Nothing: purge() or close() threw away what was not sent yet."),
  CLOSED: final(NO_NUMBER, 503, "Do not use it after close()."),
  TIMED_OUT: retriable(NO_NUMBER, 504, "Allow more time, or find out what is slow."),
  SEND_BATCH_FAILED: final(NO_NUMBER, 502, "Look at the results: each record has its own error or metadata."),
  CODEC_UNAVAILABLE: final(
    NO_NUMBER,
    501,
    "Install the optional package that the message names, or use another compression.",
  ),
} satisfies Record<string, Row>;

const table = { ...kafkaTable, ...ownTable };

const entryByCode = Object.fromEntries(Object.entries(table).map(([code, row]) => [code, { ...row, code }])) as Record<
  ErrorCode,
  ErrorEntry
>; // fromEntries cannot carry the names' types

/** The whole table: Kafka's errors by their number, then ours. */
export const errorEntries: readonly ErrorEntry[] = Object.values(entryByCode);

const entryByNumber = new Map(
  errorEntries.filter((entry) => Object.hasOwn(kafkaTable, entry.code)).map((entry) => [entry.number, entry]),
);
