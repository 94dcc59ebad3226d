/** How well each codec does on the batches of one topic, so that a batch can be filled for the size it will have. */

/** A codec is expected to do nothing until it has shown otherwise. */
const INITIAL_RATIO = 1;
/** Trust grows slowly with each batch that does better than expected, and goes at once with one that does worse. */
const IMPROVING_STEP = 0.005;
const WORSENING_STEP = 0.05;

/** Source: Java's CompressionRatioEstimator, steps and all. */
export class CompressionRatios {
  /** By codec id. Compressed size as a share of the uncompressed. */
  readonly #ratios: number[] = [];

  ratioOf(codecId: number): number {
    return this.#ratios[codecId] ?? INITIAL_RATIO;
  }

  observe(codecId: number, compressedBytes: number, uncompressedBytes: number): void {
    const expected = this.ratioOf(codecId);
    const observed = compressedBytes / uncompressedBytes;
    const next =
      observed > expected
        ? Math.max(expected + WORSENING_STEP, observed)
        : Math.max(expected - IMPROVING_STEP, observed);
    this.#set(codecId, Math.min(next, INITIAL_RATIO));
  }

  /** A batch came out too large for its broker: expect nothing again (KIP-126). */
  distrust(codecId: number): void {
    this.#set(codecId, INITIAL_RATIO);
  }

  #set(codecId: number, ratio: number): void {
    while (this.#ratios.length < codecId) this.#ratios.push(INITIAL_RATIO);
    this.#ratios[codecId] = ratio;
  }
}
