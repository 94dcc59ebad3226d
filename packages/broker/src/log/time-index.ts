/** The sparse time index of one segment: from a timestamp to an offset before which all records are older. */

/**
 * A file of entries of 12 bytes, big-endian, as Kafka writes it:
 *
 *     i64 largest timestamp so far │ u32 last offset of the batch that has it, relative to the segment's base
 *
 * Both columns rise strictly. The last entry of a closed segment holds the segment's largest timestamp.
 */
export const TIME_ENTRY_BYTES = 12;
const INITIAL_ENTRIES = 16;

export class TimeIndex {
  #timestamps = new BigInt64Array(0);
  #offsets = new Uint32Array(0);
  #count = 0;

  get count(): number {
    return this.#count;
  }

  get lastTimestamp(): bigint {
    return this.#count === 0 ? -1n : this.timestampAt(this.#count - 1);
  }

  /** Adds nothing if the last entry already says as much. */
  maybeAppend(timestamp: bigint, relativeOffset: number): void {
    if (timestamp <= this.lastTimestamp) return;
    if (this.#count > 0 && relativeOffset <= this.offsetAt(this.#count - 1)) return;
    if (this.#count === this.#timestamps.length) this.#grow();
    this.#timestamps[this.#count] = timestamp;
    this.#offsets[this.#count] = relativeOffset;
    this.#count += 1;
  }

  timestampAt(index: number): bigint {
    return this.#timestamps[index] ?? -1n;
  }

  offsetAt(index: number): number {
    return this.#offsets[index] ?? 0;
  }

  /** Index of the last entry that is older than the timestamp; -1 if there is none. */
  lastBefore(timestamp: bigint): number {
    let low = 0;
    let high = this.#count - 1;
    while (low <= high) {
      const middle = (low + high) >> 1;
      if (this.timestampAt(middle) < timestamp) low = middle + 1;
      else high = middle - 1;
    }
    return high;
  }

  /** Index of the last entry that speaks of the offset or one before it; -1 if there is none. */
  lastAtOrBefore(relativeOffset: number): number {
    let entry = this.#count - 1;
    while (entry >= 0 && this.offsetAt(entry) > relativeOffset) entry -= 1;
    return entry;
  }

  /** Forgets all entries of the offset and behind it. */
  truncateToOffset(relativeOffset: number): void {
    this.#count = this.lastAtOrBefore(relativeOffset - 1) + 1;
  }

  /** The file's bytes from an entry on. */
  encode(fromIndex: number): Buffer {
    const bytes = Buffer.allocUnsafe((this.#count - fromIndex) * TIME_ENTRY_BYTES);
    for (let index = fromIndex; index < this.#count; index++) {
      const at = (index - fromIndex) * TIME_ENTRY_BYTES;
      bytes.writeBigInt64BE(this.timestampAt(index), at);
      bytes.writeUInt32BE(this.offsetAt(index), at + 8);
    }
    return bytes;
  }

  /**
   * Reads a file's bytes, as far as they point below limitOffset.
   *
   * Returns null if they are not an index: cut in the middle of an entry, or not rising.
   */
  static decode(bytes: Buffer, limitOffset: number): TimeIndex | null {
    if (bytes.length % TIME_ENTRY_BYTES !== 0) return null;
    const index = new TimeIndex();
    for (let at = 0; at < bytes.length; at += TIME_ENTRY_BYTES) {
      const relativeOffset = bytes.readUInt32BE(at + 8);
      if (relativeOffset >= limitOffset) break;
      const countBefore = index.count;
      index.maybeAppend(bytes.readBigInt64BE(at), relativeOffset);
      if (index.count === countBefore) return null;
    }
    return index;
  }

  #grow(): void {
    const length = Math.max(INITIAL_ENTRIES, this.#timestamps.length * 2);
    const timestamps = new BigInt64Array(length);
    const offsets = new Uint32Array(length);
    timestamps.set(this.#timestamps);
    offsets.set(this.#offsets);
    this.#timestamps = timestamps;
    this.#offsets = offsets;
  }
}
