/** Files that others may replace while the broker runs: certificates, users. */

import type { Clock, FileSystem, Logger, Timer } from "@millrace/base";
import { KafkaError } from "@millrace/protocol";

export interface WatchedFilesParts {
  readonly paths: readonly string[];
  readonly fileSystem: FileSystem;
  readonly clock: Clock;
  readonly logger: Logger;
  /** How often the files are looked at. */
  readonly intervalMs: number;
  /** Takes the contents, in the order of the paths. What it rejects with is logged, and the files are tried again. */
  apply(contents: readonly Buffer[]): void | Promise<void>;
}

export class WatchedFiles {
  readonly #parts: WatchedFilesParts;
  #contents: readonly Buffer[];
  #timer: Timer | null = null;
  #isClosed = false;

  /** Rejects with INVALID_CONFIG if a file cannot be read or applied: nobody may start with half of the locks. */
  static async open(parts: WatchedFilesParts): Promise<WatchedFiles> {
    const contents = await readAll(parts);
    await parts.apply(contents);
    const files = new WatchedFiles(parts, contents);
    files.#schedule();
    return files;
  }

  private constructor(parts: WatchedFilesParts, contents: readonly Buffer[]) {
    this.#parts = parts;
    this.#contents = contents;
  }

  /** May be called twice. */
  close(): void {
    this.#isClosed = true;
    this.#timer?.cancel();
  }

  #schedule(): void {
    const { clock, intervalMs } = this.#parts;
    if (this.#isClosed) return;
    this.#timer = clock.schedule(intervalMs, () => void this.#look().finally(() => this.#schedule()), {
      background: true,
    });
  }

  async #look(): Promise<void> {
    const { paths, logger } = this.#parts;
    try {
      const contents = await readAll(this.#parts);
      if (contents.every((bytes, index) => bytes.equals(this.#contents[index] ?? Buffer.alloc(0)))) return;
      await this.#parts.apply(contents);
      this.#contents = contents;
      logger.info({ paths }, "took over changed files");
    } catch (error) {
      // Somebody is in the middle of replacing them, or made a mistake: what was good before stays in force.
      logger.warn({ paths, error }, "could not take over changed files; the former contents stay in force");
    }
  }
}

function readAll({ paths, fileSystem }: WatchedFilesParts): Promise<Buffer[]> {
  return Promise.all(
    paths.map(async (path) => {
      try {
        return await fileSystem.readFile(path);
      } catch (cause) {
        const reason = cause instanceof Error ? cause.message : String(cause);
        throw new KafkaError("INVALID_CONFIG", `cannot read ${path}: ${reason}`, { cause });
      }
    }),
  );
}
