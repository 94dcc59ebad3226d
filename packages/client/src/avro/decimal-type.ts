/** Avro's logical type "decimal": exact decimal numbers, as text in JavaScript. */

import avro from "avsc";

interface DecimalSchema {
  readonly type: "bytes" | "fixed";
  readonly precision: number;
  readonly scale?: number;
  readonly size?: number;
}

const DECIMAL = /^([+-]?)(\d+)(?:\.(\d*))?$/;
/** Bytes that any decimal may have, whatever its precision: more would be the work of seconds. */
const SIZE_LIMIT_BYTES = 1024;
/** Of the numbers of so many digits. */
const BYTES_PER_DIGIT = Math.log2(10) / 8;

/**
 * Reads as text with all digits of its scale: "12.30". Writes text, a number or a bigint; nothing is ever rounded: digits
 * beyond the scale or the precision are an error.
 *
 * Source: Avro 1.12 specification, "Decimal": the unscaled number, two's complement, big-endian.
 */
export class DecimalType extends avro.types.LogicalType {
  readonly #precision: number;
  readonly #scale: number;
  readonly #sizeLimitBytes: number;
  /** Of a fixed; null for bytes, which are as long as they must be. */
  readonly #sizeBytes: number | null;

  /** Throws if the schema is no valid decimal: Avro then takes it for bytes without a meaning. */
  constructor(schema: avro.Schema, options?: unknown) {
    super(schema, options);
    const { type, precision, scale = 0, size } = schema as unknown as DecimalSchema; // checked below
    const isValid =
      (type === "bytes" || type === "fixed") &&
      Number.isInteger(precision) &&
      precision > 0 &&
      Number.isInteger(scale) &&
      scale >= 0 &&
      scale <= precision;
    if (!isValid)
      throw new TypeError("a decimal is bytes or fixed with a precision of at least 1 and a scale up to it");
    this.#precision = precision;
    this.#scale = scale;
    this.#sizeLimitBytes = Math.max(SIZE_LIMIT_BYTES, Math.ceil(precision * BYTES_PER_DIGIT) + 1);
    this.#sizeBytes = type === "fixed" ? (size ?? 0) : null;
  }

  /** Why a value does not fit, or null if it does. */
  misfitOf(value: unknown): string | null {
    try {
      this._toValue(value);
      return null;
    } catch (error) {
      return error instanceof Error ? error.message : String(error);
    }
  }

  /** bytes: undefined where the input ended before them; avsc goes on to its end and complains then. */
  protected override _fromValue(bytes: Buffer | undefined): string {
    const sizeBytes = bytes?.length ?? 0;
    if (this.#sizeBytes === null && sizeBytes > this.#sizeLimitBytes) {
      throw new RangeError(`expected ${this.#name}, found a number of ${sizeBytes} bytes`);
    }
    const unscaled = BigInt.asIntN(sizeBytes * 8, BigInt(`0x0${bytes?.toString("hex") ?? ""}`));
    const digits = (unscaled < 0n ? -unscaled : unscaled).toString().padStart(this.#scale + 1, "0");
    const sign = unscaled < 0n ? "-" : "";
    if (this.#scale === 0) return sign + digits;
    return `${sign}${digits.slice(0, -this.#scale)}.${digits.slice(-this.#scale)}`;
  }

  protected override _toValue(value: unknown): Buffer {
    const unscaled = this.#unscaled(value);
    const sizeBytes = this.#sizeBytes ?? sizeOf(unscaled);
    if (BigInt.asIntN(sizeBytes * 8, unscaled) !== unscaled) {
      throw new RangeError(`expected ${this.#name} in ${sizeBytes} bytes, found a larger number`);
    }
    const hex = BigInt.asUintN(sizeBytes * 8, unscaled).toString(16);
    return Buffer.from(hex.padStart(sizeBytes * 2, "0"), "hex");
  }

  /** What another schema wrote is the same number if it has the same scale. */
  protected override _resolve(type: avro.Type): ((value: string) => string) | undefined {
    return type instanceof DecimalType && type.#scale === this.#scale ? (value) => value : undefined;
  }

  #unscaled(value: unknown): bigint {
    const text = typeof value === "number" || typeof value === "bigint" ? String(value) : value;
    const match = typeof text === "string" ? DECIMAL.exec(text) : null;
    if (match === null)
      throw new TypeError(
        `expected ${this.#name}, found ${typeof value === "string" ? "other text" : `a ${typeof value}`}`,
      );
    const [, sign, whole = "", given = ""] = match;
    const fraction = withoutTrailingZeros(given);
    if (fraction.length > this.#scale) {
      throw new RangeError(`expected ${this.#name}, found ${fraction.length} digits behind the point`);
    }
    const digits = (whole + fraction.padEnd(this.#scale, "0")).replace(/^0+/, "");
    // Counted before it is a number: one of a million digits takes too long to become one.
    if (digits.length > this.#precision) {
      throw new RangeError(`expected ${this.#name}, found ${digits.length} digits`);
    }
    const magnitude = BigInt(digits);
    return sign === "-" ? -magnitude : magnitude;
  }

  get #name(): string {
    return `decimal(${this.#precision}, ${this.#scale})`;
  }
}

/** A regular expression would try at each zero of a long run anew. */
function withoutTrailingZeros(digits: string): string {
  let end = digits.length;
  while (end > 0 && digits[end - 1] === "0") end -= 1;
  return digits.slice(0, end);
}

/** The fewest bytes that hold the number and its sign. */
function sizeOf(number: bigint): number {
  const magnitude = number < 0n ? -number - 1n : number;
  return Math.floor(magnitude.toString(2).replace(/^0$/, "").length / 8) + 1;
}
