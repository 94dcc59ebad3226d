/** Stdout for much data: writes gathered into few, and no more in memory than the reader of the pipe lets be. */

const FLUSH_BYTES = 64 * 1024;

export class Output {
  readonly #stream: NodeJS.WritableStream;
  #chunks: Uint8Array[] = [];
  #sizeBytes = 0;

  constructor(stream: NodeJS.WritableStream) {
    this.#stream = stream;
  }

  /** Takes bytes; they leave at the next `drain`. */
  push(...chunks: readonly Uint8Array[]): void {
    for (const chunk of chunks) {
      this.#chunks.push(chunk);
      this.#sizeBytes += chunk.length;
    }
  }

  /** Enough was taken to be worth a write. */
  get isFull(): boolean {
    return this.#sizeBytes >= FLUSH_BYTES;
  }

  /** Writes what was taken, and waits while the stream's reader is slow. */
  async drain(): Promise<void> {
    if (this.#sizeBytes === 0) return;
    const bytes = Buffer.concat(this.#chunks, this.#sizeBytes);
    this.#chunks = [];
    this.#sizeBytes = 0;
    await new Promise<void>((written) => {
      // The callback comes after the write, failed or not: a broken pipe is the process's matter, see main.ts.
      this.#stream.write(bytes, () => written());
    });
  }
}
