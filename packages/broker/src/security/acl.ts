/**
 * One rule of an access control list: who may, or may not, do what with which resource, and from where.
 *
 * Names and numbers are Kafka's. Source: org.apache.kafka.common.acl and org.apache.kafka.common.resource.
 */

import { KafkaError } from "@millrace/protocol";

export const resourceTypes = { TOPIC: 2, GROUP: 3, CLUSTER: 4, TRANSACTIONAL_ID: 5 } as const;
export const patternTypes = { LITERAL: 3, PREFIXED: 4 } as const;
export const operations = {
  ALL: 2,
  READ: 3,
  WRITE: 4,
  CREATE: 5,
  DELETE: 6,
  ALTER: 7,
  DESCRIBE: 8,
  CLUSTER_ACTION: 9,
  DESCRIBE_CONFIGS: 10,
  ALTER_CONFIGS: 11,
  IDEMPOTENT_WRITE: 12,
} as const;
export const permissions = { DENY: 2, ALLOW: 3 } as const;

export type ResourceType = keyof typeof resourceTypes;
export type Operation = Exclude<keyof typeof operations, "ALL">;

export interface Acl {
  readonly resourceType: ResourceType;
  readonly resourceName: string;
  readonly patternType: keyof typeof patternTypes;
  /** "User:alice". */
  readonly principal: string;
  /** An address, as the broker sees it, or "*". */
  readonly host: string;
  readonly operation: keyof typeof operations;
  readonly permission: keyof typeof permissions;
}

/** As a resource's name, a principal's or a host: all of them. */
export const ANY_NAME = "*";
export const ANY_PRINCIPAL = "User:*";
/** The only resource of its type. */
export const CLUSTER_NAME = "kafka-cluster";

const MAX_NAME_LENGTH = 1024;
const PRINCIPAL = /^User:./s;

/** In filters: whatever there is. */
const ANY = 1;
/** In filters: patterns that the name falls under. */
const MATCH = 2;

/** An ACL as the wire has it. */
export interface WireAcl {
  readonly resourceType: number;
  readonly resourceName: string;
  readonly patternType: number;
  readonly principal: string;
  readonly host: string;
  readonly operation: number;
  readonly permissionType: number;
}

/** A filter as the wire has it. Null stands for any. */
export interface AclFilter {
  readonly resourceTypeFilter: number;
  readonly resourceNameFilter: string | null;
  readonly patternTypeFilter: number;
  readonly principalFilter: string | null;
  readonly hostFilter: string | null;
  readonly operation: number;
  readonly permissionType: number;
}

/** Throws INVALID_REQUEST for what cannot be a rule here. */
export function aclOf(wire: WireAcl): Acl {
  const acl: Acl = {
    resourceType: nameOf(resourceTypes, wire.resourceType, "type of resource"),
    resourceName: wire.resourceName,
    patternType: nameOf(patternTypes, wire.patternType, "type of pattern"),
    principal: wire.principal,
    host: wire.host,
    operation: nameOf(operations, wire.operation, "operation"),
    permission: nameOf(permissions, wire.permissionType, "permission"),
  };
  const problem = problemOf(acl);
  if (problem !== null) throw new KafkaError("INVALID_REQUEST", problem);
  return acl;
}

export function wireAclOf(acl: Acl): WireAcl {
  const { resourceName, principal, host } = acl;
  return {
    resourceType: resourceTypes[acl.resourceType],
    resourceName,
    patternType: patternTypes[acl.patternType],
    principal,
    host,
    operation: operations[acl.operation],
    permissionType: permissions[acl.permission],
  };
}

/** An ACL as acls.json has it; null if it is none. */
export function readAcl(value: unknown): Acl | null {
  if (typeof value !== "object" || value === null) return null;
  const { resourceType, resourceName, patternType, principal, host, operation, permission } = value as Record<
    string,
    unknown
  >; // an object has keys of text
  if (!isKey(resourceTypes, resourceType) || !isKey(patternTypes, patternType)) return null;
  if (!isKey(operations, operation) || !isKey(permissions, permission)) return null;
  if (typeof resourceName !== "string" || typeof principal !== "string" || typeof host !== "string") return null;
  const acl = { resourceType, resourceName, patternType, principal, host, operation, permission };
  return problemOf(acl) === null ? acl : null;
}

/** The same for rules that are the same. */
export function aclKey({
  resourceType,
  resourceName,
  patternType,
  principal,
  host,
  operation,
  permission,
}: Acl): string {
  return JSON.stringify([resourceType, resourceName, patternType, principal, host, operation, permission]);
}

/** Which ACLs a filter means. Throws INVALID_REQUEST for a filter that means nothing. */
export function aclMatcher(filter: AclFilter): (acl: Acl) => boolean {
  const isType = numberMatcher(resourceTypes, filter.resourceTypeFilter, "type of resource");
  const isOperation = numberMatcher(operations, filter.operation, "operation");
  const isPermission = numberMatcher(permissions, filter.permissionType, "permission");
  const isResource = resourceMatcher(filter);
  const isText = (wanted: string | null, text: string) => wanted === null || wanted === text;
  return (acl) =>
    isType(acl.resourceType) &&
    isOperation(acl.operation) &&
    isPermission(acl.permission) &&
    isText(filter.principalFilter, acl.principal) &&
    isText(filter.hostFilter, acl.host) &&
    isResource(acl);
}

/** Whether a rule is about the resource of this name. */
export function coversName({ patternType, resourceName }: Acl, name: string): boolean {
  if (patternType === "PREFIXED") return name.startsWith(resourceName);
  return resourceName === ANY_NAME || resourceName === name;
}

function resourceMatcher({ patternTypeFilter, resourceNameFilter: name }: AclFilter): (acl: Acl) => boolean {
  const hasName = ({ resourceName }: Acl) => name === null || resourceName === name;
  if (patternTypeFilter === ANY) return hasName;
  if (patternTypeFilter === MATCH) return (acl) => name === null || coversName(acl, name);
  const patternType = nameOf(patternTypes, patternTypeFilter, "type of pattern");
  return (acl) => acl.patternType === patternType && hasName(acl);
}

function numberMatcher<N extends Readonly<Record<string, number>>>(names: N, wanted: number, what: string) {
  if (wanted === ANY) return () => true;
  const name = nameOf(names, wanted, what);
  return (given: keyof N) => given === name;
}

/** What is wrong with a rule, as a sentence, or null. */
function problemOf({ resourceType, resourceName, principal, host }: Acl): string | null {
  if (!PRINCIPAL.test(principal)) return `principal ${JSON.stringify(principal)} must be User: and a name`;
  if (host === "") return `host must be an address or ${ANY_NAME}`;
  if (resourceName === "") return "the resource has no name";
  if (resourceType === "CLUSTER" && resourceName !== CLUSTER_NAME) {
    return `the only resource of type CLUSTER is ${CLUSTER_NAME}, not ${resourceName}`;
  }
  const isTooLong = [resourceName, principal, host].some(({ length }) => length > MAX_NAME_LENGTH);
  return isTooLong ? `names in a rule may have ${MAX_NAME_LENGTH} characters` : null;
}

function nameOf<N extends Readonly<Record<string, number>>>(names: N, number: number, what: string): keyof N {
  const found = Object.keys(names).find((name) => names[name] === number);
  if (found !== undefined) return found;
  throw new KafkaError("INVALID_REQUEST", `there is no ${what} ${number} here`);
}

function isKey<N extends object>(names: N, value: unknown): value is keyof N {
  return typeof value === "string" && Object.hasOwn(names, value);
}
