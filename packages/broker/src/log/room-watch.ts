/** RoomWatch: waits until a full disk has room again. */

import type { Clock, FileSystem, Logger, Timer } from "@millrace/base";

const ROOM_CHECK_MS = 1000;
/** Free bytes, beside those that did not fit, at which writing is tried again. */
const ROOM_MARGIN_BYTES = 64 * 1024;

export interface RoomWatchParts {
  /** Of the log that waits, for messages. */
  readonly name: string;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly fileSystem: FileSystem;
  /** On the volume that is full. */
  readonly directory: string;
  readonly onRoom: (freeBytes: number) => void;
  /** Looked, and there is none yet. The next look comes after it. */
  readonly onNoRoom: () => Promise<void>;
}

export class RoomWatch {
  readonly #parts: RoomWatchParts;
  #timer: Timer | null = null;
  #isWaiting = false;

  constructor(parts: RoomWatchParts) {
    this.#parts = parts;
  }

  /** Looks every now and then, until there is room for what did not fit. */
  wait(neededBytes: number): void {
    this.#isWaiting = true;
    this.#lookLater(neededBytes);
  }

  stop(): void {
    this.#isWaiting = false;
    this.#timer?.cancel();
  }

  #lookLater(neededBytes: number): void {
    if (!this.#isWaiting) return;
    const { name, clock, logger } = this.#parts;
    this.#timer?.cancel();
    this.#timer = clock.schedule(
      ROOM_CHECK_MS,
      () => {
        this.#look(neededBytes)
          .catch((error) => logger.warn({ log: name, error }, "could not look for room on the disk"))
          .finally(() => this.#lookLater(neededBytes));
      },
      { background: true },
    );
  }

  async #look(neededBytes: number): Promise<void> {
    const { fileSystem, directory, onRoom, onNoRoom } = this.#parts;
    const freeBytes = await fileSystem.freeBytes(directory);
    if (!this.#isWaiting) return;
    if (freeBytes < neededBytes + ROOM_MARGIN_BYTES) return onNoRoom();
    this.#isWaiting = false;
    onRoom(freeBytes);
  }
}
