/** What a handler of one API is, and what it is given for one request. */

import { type Address, type Clock, type Logger, sleep } from "@millrace/base";
import {
  type Api,
  type ErrorCode,
  encodeResponse,
  errorByCode,
  KafkaError,
  type Reader,
  skipHeaderTags,
  type VersionRange,
} from "@millrace/protocol";
import type { FaultHit, Faults } from "./faults.ts";
import type { FetchMemory } from "./fetch-memory.ts";
import type { GroupCoordinator } from "./groups/group-coordinator.ts";
import type { ResolvedBrokerOptions } from "./options.ts";
import type { ProducerIds } from "./producer-ids.ts";
import type { QuotaName } from "./quotas/client-quota.ts";
import type { ClientQuotas } from "./quotas/client-quotas.ts";
import type { Access } from "./security/access.ts";
import type { AccessControl } from "./security/access-control.ts";
import type { SaslSession } from "./security/sasl-session.ts";
import type { Security } from "./security/security.ts";
import type { TopicManager } from "./topics/topic-manager.ts";

/** A request of an API, as its handler reads it. */
export type RequestOf<A> =
  A extends Api<infer Request, infer _In, infer _Response, infer _ResponseIn> ? Request : never;
/** A response of an API, as its handler writes it. */
export type ResponseOf<A> =
  A extends Api<infer _Request, infer _In, infer _Response, infer ResponseIn> ? ResponseIn : never;

/** The broker's parts, as handlers see them. */
export interface BrokerServices {
  readonly clusterId: string;
  readonly options: ResolvedBrokerOptions;
  readonly topics: TopicManager;
  readonly groups: GroupCoordinator;
  readonly producerIds: ProducerIds;
  readonly security: Security;
  readonly accessControl: AccessControl;
  readonly quotas: ClientQuotas;
  readonly fetchMemory: FetchMemory;
  readonly faults: Faults;
  readonly clock: Clock;
  readonly logger: Logger;
}

/** An API and the versions of it that clients are told of. */
export interface AdvertisedApi {
  readonly apiKey: number;
  readonly minVersion: number;
  readonly maxVersion: number;
}

/** One request's surroundings. */
export interface RequestContext {
  readonly version: number;
  readonly clientId: string | null;
  /** "host:port" of the client. */
  readonly remote: string;
  /** What this client is to connect to. */
  readonly advertised: Address;
  readonly advertisedApis: readonly AdvertisedApi[];
  /** Who the client is, as Kafka writes it: "User:alice". */
  readonly principal: string;
  /** What the client may do. */
  readonly access: Access;
  /** Null where clients need not log in. */
  readonly sasl: SaslSession | null;
  readonly quota: QuotaMeter;
  readonly broker: BrokerServices;
  /**
   * Calls back once when a request that waits should answer with what there is: another frame came on its connection,
   * the connection closed, or the broker closes. Returns the function that takes the listener back.
   */
  onHurry(listener: () => void): () => void;
  /**
   * Calls back once when the answer is not waited for any more. hasLeft: nothing of it is in this process; else the
   * stream may still be reading it, and so it is when the connection closed.
   */
  onSent(listener: (hasLeft: boolean) => void): void;
  /** For requests without a response: closing is the only way to tell the client that one failed. */
  closeConnection(reason: string): void;
  /** Closes the connection once this request is answered. */
  endAfterAnswer(): void;
  /** Remembers what the client calls itself. */
  identifyClient(name: string, version: string): void;
}

/** The client's quotas, as far as one request uses them. */
export interface QuotaMeter {
  /**
   * Counts bytes. Returns the milliseconds that the answer tells the client to pause for; what it sends nevertheless in
   * that time is not read (KIP-219).
   */
  charge(name: QuotaName, sizeBytes: number): number;
  /** The most that one answer should bring. */
  answerLimitBytes(name: QuotaName): number;
}

/** What of a request is about some partitions only, for an API that names them; partition: null if it names only topics. */
export interface Parted<Request, Response> {
  readonly namesPartitions: boolean;
  /** The request with those parts only that keep is true of; null if nothing is left. */
  select(
    request: Request,
    keep: (topic: string, partition: number | null) => boolean,
    context: RequestContext,
  ): Request | null;
  /** One response from the responses to two selections. */
  join(first: Response, second: Response): Response;
}

interface HandlerDefinition<Request, RequestInput, Response, ResponseInput> {
  readonly api: Api<Request, RequestInput, Response, ResponseInput>;
  /** What is advertised. */
  readonly versions: readonly [min: number, max: number];
  /**
   * Whether the next request with such a handler may start before this one is answered. Only for handlers that take
   * effect before they first wait, so that requests take effect in the order they came in.
   */
  readonly isPipelined?: boolean;
  /** Whether nobody looks at a request's bytes any more once it has a response: their memory is used again then. */
  readonly isDoneWithBytes?: boolean;
  /** Null: no response is sent. */
  handle(request: Request, context: RequestContext): ResponseInput | null | Promise<ResponseInput | null>;
  /** The response that says that the whole request failed. Null: no response is sent. */
  errorResponse(request: Request, errorCode: number, context: RequestContext): ResponseInput | null;
  /** Left out, a request is always one whole. */
  readonly parted?: Parted<Request, ResponseInput>;
}

/** A handler with its types folded away: from a request's bytes to its response's. */
export interface Handler {
  readonly apiKey: number;
  readonly name: string;
  readonly versions: VersionRange;
  readonly isPipelined: boolean;
  readonly isDoneWithBytes: boolean;
  /** What a request of it names. */
  readonly names: "partitions" | "topics" | "neither";
  /**
   * reader: stands behind the client id. Returns one response frame for one gathered write, or null for no response.
   *
   * Rejects with WireError if the request is not what its version says.
   */
  answer(reader: Reader, correlationId: number, context: RequestContext): Promise<readonly Uint8Array[] | null>;
}

export function defineHandler<Request, RequestInput, Response, ResponseInput>(
  definition: HandlerDefinition<Request, RequestInput, Response, ResponseInput>,
): Handler {
  const { api } = definition;
  const [min, max] = definition.versions;
  return {
    apiKey: api.key,
    name: api.name,
    versions: { min, max },
    isPipelined: definition.isPipelined === true,
    isDoneWithBytes: definition.isDoneWithBytes === true,
    names: definition.parted === undefined ? "neither" : definition.parted.namesPartitions ? "partitions" : "topics",
    async answer(reader, correlationId, context) {
      const { version } = context;
      if (version >= api.flexibleSince) skipHeaderTags(reader);
      // What stands behind the body is not looked at, as in Kafka: librdkafka 2.16 sends three bytes too many when it
      // asks for all topics.
      const request = api.request.decode(reader, version);
      const hit = context.broker.faults.isEmpty ? null : hitOf(definition, request, context);
      const response =
        hit === null
          ? await respond(definition, request, context)
          : await respondWrong(definition, request, context, hit);
      return response === null ? null : encodeResponse(api, version, correlationId, response);
    },
  };
}

async function respond<Request, RequestInput, Response, ResponseInput>(
  definition: HandlerDefinition<Request, RequestInput, Response, ResponseInput>,
  request: Request,
  context: RequestContext,
): Promise<ResponseInput | null> {
  try {
    return await definition.handle(request, context);
  } catch (error) {
    const where = `${definition.api.name} v${context.version}`;
    const errorCode = errorNumberOf(error, where, context.broker.logger);
    return definition.errorResponse(request, errorCode, context);
  }
}

function hitOf<Request, RequestInput, Response, ResponseInput>(
  { api, parted }: HandlerDefinition<Request, RequestInput, Response, ResponseInput>,
  request: Request,
  context: RequestContext,
): FaultHit | null {
  const some = (concerns: FaultHit["concerns"]) => parted?.select(request, concerns, context) !== null;
  const { clientId, broker } = context;
  return broker.faults.hit({ api: api.name, clientId, some: parted === undefined ? null : some });
}

/** Answers a request as a fault wants it. Partitions that the fault does not concern are served as ever. */
async function respondWrong<Request, RequestInput, Response, ResponseInput>(
  definition: HandlerDefinition<Request, RequestInput, Response, ResponseInput>,
  request: Request,
  context: RequestContext,
  hit: FaultHit,
): Promise<ResponseInput | null> {
  const { parted } = definition;
  const select = (keep: FaultHit["concerns"]) => parted?.select(request, keep, context) ?? null;
  const concerned = parted === undefined ? request : (select(hit.concerns.bind(hit)) ?? request);
  const rest = select((topic, partition) => !hit.concerns(topic, partition));
  const isServed = hit.isCarriedOut || (hit.error === null && !hit.isDisconnected);
  // Both begin before either is awaited, as an API that is pipelined needs it.
  const [served, answered] = await Promise.all([
    isServed ? respond(definition, concerned, context) : null,
    rest === null || (hit.isDisconnected && !hit.isCarriedOut)
      ? null
      : respond(definition, rest, hit.error === null ? context : { ...context, onHurry: hurryAtOnce }),
  ]);
  if (hit.delayMs > 0) await sleep(context.broker.clock, hit.delayMs);
  if (hit.isDisconnected) {
    context.closeConnection("an injected fault");
    return null;
  }
  const response = hit.error === null ? served : definition.errorResponse(concerned, errorNumber(hit.error), context);
  if (response === null || answered === null || parted === undefined) return response;
  return parted.join(answered, response);
}

/** An answer that has an error to tell does not wait for records to come. */
function hurryAtOnce(listener: () => void): () => void {
  queueMicrotask(listener);
  return () => {};
}

/** Topics with those partitions only that keep is true of; topics without any are left out. Null if none is left. */
export function selectPartitions<Topic, Partition>(
  topics: readonly Topic[],
  shape: {
    name(topic: Topic): string;
    partitions(topic: Topic): readonly Partition[];
    index(partition: Partition): number;
    withPartitions(topic: Topic, partitions: Partition[]): Topic;
  },
  keep: (topic: string, partition: number) => boolean,
): Topic[] | null {
  const selected = topics.flatMap((topic) => {
    const partitions = shape.partitions(topic).filter((partition) => keep(shape.name(topic), shape.index(partition)));
    return partitions.length === 0 ? [] : [shape.withPartitions(topic, partitions)];
  });
  return selected.length === 0 ? null : selected;
}

export const NO_ERROR = 0;
const UNKNOWN_SERVER_ERROR = -1;

/** What to tell the client. An error that is not ours to expect is a bug: it is logged whole and the client learns no detail. */
export function errorNumberOf(error: unknown, where: string, logger: Logger): number {
  if (error instanceof KafkaError) return errorByCode(error.code).number;
  logger.error({ error, where }, "a request failed for a reason that should not exist");
  return UNKNOWN_SERVER_ERROR;
}

/** The sentence that goes with it, where a response has room for one. */
export function errorMessageOf(error: unknown): string | null {
  return error instanceof KafkaError ? error.message : null;
}

/** The number of a code of Kafka's table. */
export function errorNumber(code: ErrorCode): number {
  return errorByCode(code).number;
}
