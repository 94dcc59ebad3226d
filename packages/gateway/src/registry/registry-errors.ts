/** What the registry refuses: Confluent's error codes, which its clients decide by. Source: Schema Registry API reference. */

export const registryErrors = {
  INCOMPATIBLE: 409,
  SUBJECT_NOT_FOUND: 40401,
  VERSION_NOT_FOUND: 40402,
  SCHEMA_NOT_FOUND: 40403,
  SUBJECT_SOFT_DELETED: 40404,
  SUBJECT_NOT_SOFT_DELETED: 40405,
  VERSION_SOFT_DELETED: 40406,
  VERSION_NOT_SOFT_DELETED: 40407,
  COMPATIBILITY_NOT_CONFIGURED: 40408,
  MODE_NOT_CONFIGURED: 40409,
  INVALID_SCHEMA: 42201,
  INVALID_VERSION: 42202,
  INVALID_COMPATIBILITY: 42203,
  INVALID_MODE: 42204,
  NOT_PERMITTED: 42205,
  REFERENCE_EXISTS: 42206,
  INVALID_SUBJECT: 42208,
  STORE_FAILED: 50001,
} as const;

export type RegistryErrorName = keyof typeof registryErrors;

export class RegistryError extends Error {
  override readonly name = "RegistryError";
  readonly reason: RegistryErrorName;

  constructor(reason: RegistryErrorName, message: string, options: { readonly cause?: unknown } = {}) {
    super(message, options);
    this.reason = reason;
  }

  /** As the body of the answer names it. */
  get errorCode(): number {
    return registryErrors[this.reason];
  }

  get httpStatus(): number {
    return Number(String(this.errorCode).slice(0, 3));
  }
}
