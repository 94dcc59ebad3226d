/** The file that says who may log in: a JSON object of names and passwords. */

import { KafkaError } from "@millrace/protocol";

/** Throws INVALID_CONFIG, without a word of what the file says: it is full of passwords. */
export function parseUsers(bytes: Buffer, path: string): Record<string, string> {
  let users: unknown;
  try {
    users = JSON.parse(bytes.toString("utf8"));
  } catch {
    users = null;
  }
  if (isUsers(users)) return users;
  throw new KafkaError("INVALID_CONFIG", `${path} must be a JSON object of names and passwords: {"alice": "…"}`);
}

/** Names and passwords that are texts, and not empty. */
export function isUsers(value: unknown): value is Record<string, string> {
  if (typeof value !== "object" || value === null || Array.isArray(value)) return false;
  return Object.entries(value).every(
    ([name, password]) => name !== "" && typeof password === "string" && password !== "",
  );
}
