/** Who may do what: the access control lists, the super users above them, and the decision. */

import type { FileSystem, Logger } from "@millrace/base";
import { KafkaError } from "@millrace/protocol";
import { StoredList } from "../stored-list.ts";
import { type Access, type AccessRules, type Client, OPEN_ACCESS, RestrictedAccess } from "./access.ts";
import {
  type Acl,
  type AclFilter,
  ANY_NAME,
  ANY_PRINCIPAL,
  aclKey,
  aclMatcher,
  coversName,
  type Operation,
  type ResourceType,
  readAcl,
} from "./acl.ts";

/** Rules that a broker keeps: each decision may have to go through all that begin with a prefix. */
const MAX_ACLS = 10_000;

export interface AccessControlParts {
  readonly fileSystem: FileSystem;
  /** acls.json in the data dir. */
  readonly path: string;
  /** "User:admin". With none everybody may do everything. */
  readonly superUsers: readonly string[];
  readonly allowEveryoneIfNoAclFound: boolean;
  readonly logger: Logger;
}

/** Being allowed any of these allows to describe; Source: AclAuthorizer, KIP-11. */
const IMPLIED_BY: Readonly<Partial<Record<Operation, readonly Operation[]>>> = {
  DESCRIBE: ["READ", "WRITE", "DELETE", "ALTER"],
  DESCRIBE_CONFIGS: ["ALTER_CONFIGS"],
};

export class AccessControl implements AccessRules {
  readonly #parts: AccessControlParts;
  readonly #stored: StoredList<Acl>;
  readonly #superUsers: ReadonlySet<string>;
  #index: AclIndex;
  #version = 0;

  /** Rejects with KAFKA_STORAGE_ERROR if the file is damaged: nobody may come in by rules that were lost. */
  static async open(parts: AccessControlParts): Promise<AccessControl> {
    const { fileSystem, path } = parts;
    return new AccessControl(parts, await StoredList.open({ fileSystem, path, read: readAcl }));
  }

  private constructor(parts: AccessControlParts, stored: StoredList<Acl>) {
    this.#parts = parts;
    this.#stored = stored;
    this.#superUsers = new Set(parts.superUsers);
    this.#index = new AclIndex(stored.items);
  }

  get isOn(): boolean {
    return this.#superUsers.size > 0;
  }

  get version(): number {
    return this.#version;
  }

  accessOf(client: Client): Access {
    return this.isOn ? new RestrictedAccess(this, client, this.#parts.logger) : OPEN_ACCESS;
  }

  /** Source: Kafka, StandardAuthorizerData. A denial goes before what allows. */
  isAllowed(client: Client, operation: Operation, type: ResourceType, name: string): boolean {
    if (this.#superUsers.has(client.principal)) return true;
    const found = this.#index.covering(type, name);
    if (found.length === 0) return this.#parts.allowEveryoneIfNoAclFound;
    const about = found.filter((acl) => isAbout(acl, client));
    if (about.some((acl) => acl.permission === "DENY" && isSaid(acl, operation))) return false;
    return about.some((acl) => acl.permission === "ALLOW" && (isSaid(acl, operation) || isImplied(acl, operation)));
  }

  /** Whether there may be any resource of the type that the client may do it with. Source: KIP-679. */
  isAllowedSomewhere(client: Client, operation: Operation, type: ResourceType): boolean {
    if (this.#superUsers.has(client.principal)) return true;
    const about = this.#stored.items.filter(
      (acl) => acl.resourceType === type && isAbout(acl, client) && isSaid(acl, operation),
    );
    const denied = about.filter(({ permission }) => permission === "DENY");
    if (denied.some(deniesAll)) return false;
    if (this.#parts.allowEveryoneIfNoAclFound) return true;
    return about.some((acl) => acl.permission === "ALLOW" && !denied.some((denial) => deniesAllOf(denial, acl)));
  }

  /** Those that a filter means. Throws INVALID_REQUEST. */
  find(filter: AclFilter): Acl[] {
    return this.#stored.items.filter(aclMatcher(filter));
  }

  /** In force once it resolves. Rules that are there already stay. Rejects with INVALID_REQUEST or KAFKA_STORAGE_ERROR. */
  async add(acls: readonly Acl[]): Promise<void> {
    await this.#stored.change((items) => {
      const known = new Set(items.map(aclKey));
      const added = acls.filter((acl) => known.size < known.add(aclKey(acl)).size);
      if (items.length + added.length > MAX_ACLS) {
        throw new KafkaError(
          "INVALID_REQUEST",
          `there may be ${MAX_ACLS} access control rules; there are ${items.length}`,
        );
      }
      return added.length === 0 ? items : [...items, ...added];
    });
    this.#takeOver();
  }

  /** Resolves to those that were removed, by filter. Rejects with KAFKA_STORAGE_ERROR. */
  async remove(matchers: readonly ((acl: Acl) => boolean)[]): Promise<Acl[][]> {
    let removed: Acl[][] = matchers.map(() => []);
    await this.#stored.change((items) => {
      removed = matchers.map((isMeant) => items.filter(isMeant));
      const gone = new Set(removed.flat());
      return gone.size === 0 ? items : items.filter((acl) => !gone.has(acl));
    });
    this.#takeOver();
    return removed;
  }

  #takeOver(): void {
    this.#index = new AclIndex(this.#stored.items);
    this.#version += 1;
  }
}

/** Finds the rules about a resource without going through all of them. */
class AclIndex {
  readonly #literal = new Map<string, Acl[]>();
  readonly #prefixed = new Map<ResourceType, Acl[]>();

  constructor(acls: readonly Acl[]) {
    for (const acl of acls) {
      if (acl.patternType === "LITERAL") addTo(this.#literal, `${acl.resourceType} ${acl.resourceName}`, acl);
      else addTo(this.#prefixed, acl.resourceType, acl);
    }
  }

  covering(type: ResourceType, name: string): Acl[] {
    return [
      ...(this.#literal.get(`${type} ${name}`) ?? []),
      ...(name === ANY_NAME ? [] : (this.#literal.get(`${type} ${ANY_NAME}`) ?? [])),
      ...(this.#prefixed.get(type) ?? []).filter((acl) => coversName(acl, name)),
    ];
  }
}

function addTo<K>(lists: Map<K, Acl[]>, key: K, acl: Acl): void {
  const list = lists.get(key);
  if (list === undefined) lists.set(key, [acl]);
  else list.push(acl);
}

function isAbout(acl: Acl, { principal, host }: Client): boolean {
  return (
    (acl.principal === principal || acl.principal === ANY_PRINCIPAL) && (acl.host === host || acl.host === ANY_NAME)
  );
}

function isSaid(acl: Acl, operation: Operation): boolean {
  return acl.operation === operation || acl.operation === "ALL";
}

function isImplied(acl: Acl, operation: Operation): boolean {
  return IMPLIED_BY[operation]?.some((implying) => implying === acl.operation) === true;
}

function deniesAll({ patternType, resourceName }: Acl): boolean {
  return patternType === "LITERAL" && resourceName === ANY_NAME;
}

/** Whether a denial leaves nothing of what a rule allows. */
function deniesAllOf(denial: Acl, allowed: Acl): boolean {
  if (denial.patternType === "PREFIXED") {
    return allowed.resourceName.startsWith(denial.resourceName) && !deniesAll(allowed);
  }
  return allowed.patternType === "LITERAL" && allowed.resourceName === denial.resourceName;
}
