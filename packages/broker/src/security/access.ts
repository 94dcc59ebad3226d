/** What one client may do, as handlers ask it. */

import type { Logger } from "@millrace/base";
import { type ErrorCode, KafkaError } from "@millrace/protocol";
import { CLUSTER_NAME, type Operation, operations, type ResourceType } from "./acl.ts";

export interface Access {
  allows(operation: Operation, type: ResourceType, name: string): boolean;
  /** Throws TOPIC_AUTHORIZATION_FAILED, GROUP_… or CLUSTER_…, whichever the resource is. */
  expect(operation: Operation, type: ResourceType, name: string): void;
  expectCluster(operation: Operation): void;
  /** Whether there may be any resource of the type that the client may do it with. */
  allowsSomewhere(operation: Operation, type: ResourceType): boolean;
  /** Operations that are allowed, as Kafka's bits: 1 << the operation's number (KIP-430). */
  allowedOperations(type: ResourceType, name: string): number;
}

/** Who asks, and from where. */
export interface Client {
  readonly principal: string;
  readonly host: string;
}

/** Where decisions come from. */
export interface AccessRules {
  /** Changes with every change of the rules: what was decided before may not hold any more. */
  readonly version: number;
  isAllowed(client: Client, operation: Operation, type: ResourceType, name: string): boolean;
  isAllowedSomewhere(client: Client, operation: Operation, type: ResourceType): boolean;
}

/** What can be done with a resource at all. Source: Kafka, AclEntry.supportedOperations. */
const SUPPORTED: Readonly<Record<ResourceType, readonly Operation[]>> = {
  TOPIC: ["READ", "WRITE", "CREATE", "DESCRIBE", "DELETE", "ALTER", "DESCRIBE_CONFIGS", "ALTER_CONFIGS"],
  GROUP: ["READ", "DESCRIBE", "DELETE"],
  CLUSTER: ["CREATE", "CLUSTER_ACTION", "DESCRIBE_CONFIGS", "ALTER_CONFIGS", "IDEMPOTENT_WRITE", "ALTER", "DESCRIBE"],
  TRANSACTIONAL_ID: ["DESCRIBE", "WRITE"],
};

const REFUSALS: Readonly<Record<ResourceType, ErrorCode>> = {
  TOPIC: "TOPIC_AUTHORIZATION_FAILED",
  GROUP: "GROUP_AUTHORIZATION_FAILED",
  CLUSTER: "CLUSTER_AUTHORIZATION_FAILED",
  TRANSACTIONAL_ID: "TRANSACTIONAL_ID_AUTHORIZATION_FAILED",
};

/** Of whoever may do everything: all clients where there are no rules, and whoever is in the same process. */
export const OPEN_ACCESS: Access = {
  allows: () => true,
  expect() {},
  expectCluster() {},
  allowsSomewhere: () => true,
  allowedOperations: (type) => bitsOf(SUPPORTED[type]),
};

/** Decisions that are remembered for one client: as many as the topics that it may well use. */
const DECISION_LIMIT = 1000;

export class RestrictedAccess implements Access {
  readonly #rules: AccessRules;
  readonly #client: Client;
  readonly #logger: Logger;
  readonly #decisions = new Map<string, boolean>();
  #version: number;

  constructor(rules: AccessRules, client: Client, logger: Logger) {
    this.#rules = rules;
    this.#client = client;
    this.#logger = logger;
    this.#version = rules.version;
  }

  allows(operation: Operation, type: ResourceType, name: string): boolean {
    this.#forgetIfOutdated();
    const key = `${operation} ${type} ${name}`;
    const decided = this.#decisions.get(key);
    if (decided !== undefined) return decided;
    const isAllowed = this.#rules.isAllowed(this.#client, operation, type, name);
    this.#decisions.set(key, isAllowed);
    return isAllowed;
  }

  expect(operation: Operation, type: ResourceType, name: string): void {
    if (this.allows(operation, type, name)) return;
    this.#logger.info(
      { ...this.#client, operation, resource: `${type}:${name}` },
      "refused by the access control lists",
    );
    throw new KafkaError(REFUSALS[type], `${this.#client.principal} may not ${operation} ${type}:${name}`);
  }

  expectCluster(operation: Operation): void {
    this.expect(operation, "CLUSTER", CLUSTER_NAME);
  }

  allowsSomewhere(operation: Operation, type: ResourceType): boolean {
    return this.#rules.isAllowedSomewhere(this.#client, operation, type);
  }

  allowedOperations(type: ResourceType, name: string): number {
    return bitsOf(SUPPORTED[type].filter((operation) => this.allows(operation, type, name)));
  }

  #forgetIfOutdated(): void {
    const { version } = this.#rules;
    if (version === this.#version && this.#decisions.size < DECISION_LIMIT) return;
    this.#decisions.clear();
    this.#version = version;
  }
}

function bitsOf(allowed: readonly Operation[]): number {
  return allowed.reduce((bits, operation) => bits | (1 << operations[operation]), 0);
}
