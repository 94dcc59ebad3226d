/** Latencies, counted in buckets whose width grows with the value, so that every percentile is right within 2 %. */

/** Buckets for each power of two, which makes a bucket at most 1/64 of its values wide. HdrHistogram's layout. */
const STEPS = 64;
const STEP_BITS = 6;
/** 2^31 µs: 35 minutes. What is above counts as this. */
const HIGHEST = 2 ** 31 - 1;

/** Values are whole numbers of at least 0, microseconds by custom. */
export class Histogram {
  readonly #counts = new Float64Array(indexOf(HIGHEST) + 1);
  #count = 0;
  #sum = 0;
  #min = Number.POSITIVE_INFINITY;
  #max = 0;

  get count(): number {
    return this.#count;
  }

  get max(): number {
    return this.#max;
  }

  get min(): number {
    return this.#count === 0 ? 0 : this.#min;
  }

  get mean(): number {
    return this.#count === 0 ? 0 : this.#sum / this.#count;
  }

  record(value: number): void {
    const kept = Math.min(Math.max(Math.round(value), 0), HIGHEST);
    const index = indexOf(kept);
    this.#counts[index] = (this.#counts[index] ?? 0) + 1;
    this.#count += 1;
    this.#sum += kept;
    if (kept < this.#min) this.#min = kept;
    if (kept > this.#max) this.#max = kept;
  }

  /** The least value that at least percent of all values do not exceed; 0 if there are none. */
  percentile(percent: number): number {
    const rank = Math.max(Math.ceil((percent / 100) * this.#count), 1);
    let seen = 0;
    for (let index = 0; index < this.#counts.length; index++) {
      seen += this.#counts[index] ?? 0;
      if (seen >= rank) return Math.min(highestOf(index), this.#max);
    }
    return 0;
  }

  /** How many values are at least from and less than to, by their buckets. */
  countBetween(from: number, to: number): number {
    let count = 0;
    for (let index = indexOf(Math.min(from, HIGHEST)); index < this.#counts.length; index++) {
      if (highestOf(index) >= to) break;
      count += this.#counts[index] ?? 0;
    }
    return count;
  }

  reset(): void {
    this.#counts.fill(0);
    this.#count = 0;
    this.#sum = 0;
    this.#min = Number.POSITIVE_INFINITY;
    this.#max = 0;
  }
}

/**
 *     value            0 … 127   128 … 255   256 … 511
 *     bucket width     1         2           4
 *     buckets          0 … 127   128 … 191   192 … 255      64 for each power of two
 */
function indexOf(value: number): number {
  const shift = Math.max(31 - Math.clz32(value) - STEP_BITS, 0);
  return shift * STEPS + (value >>> shift);
}

/** The greatest value that falls into a bucket. */
function highestOf(index: number): number {
  if (index < 2 * STEPS) return index;
  const shift = Math.floor(index / STEPS) - 1;
  const step = index - shift * STEPS;
  return (step + 1) * 2 ** shift - 1;
}
