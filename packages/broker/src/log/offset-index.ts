/** The sparse offset index of one segment: from an offset to a byte position at or before its batch. */

/**
 * A file of entries of 8 bytes, big-endian, as Kafka writes it:
 *
 *     u32 last offset of a batch, relative to the segment's base │ u32 position of that batch in the log file
 *
 * Both columns rise strictly. The file has no checksum: whoever uses an entry looks at the batch that it points to.
 */
export const OFFSET_ENTRY_BYTES = 8;
const INITIAL_ENTRIES = 16;

export class OffsetIndex {
  /** Offset and position in turn. Empty until the first entry: most partitions of a large broker are idle. */
  #entries = new Uint32Array(0);
  #count = 0;

  get count(): number {
    return this.#count;
  }

  append(relativeOffset: number, position: number): void {
    if (this.#count * 2 === this.#entries.length) this.#grow();
    this.#entries[this.#count * 2] = relativeOffset;
    this.#entries[this.#count * 2 + 1] = position;
    this.#count += 1;
  }

  /** Index of the last entry whose batch ends at or before the offset; -1 if there is none. */
  lastAtOrBefore(relativeOffset: number): number {
    let low = 0;
    let high = this.#count - 1;
    while (low <= high) {
      const middle = (low + high) >> 1;
      if (this.offsetAt(middle) <= relativeOffset) low = middle + 1;
      else high = middle - 1;
    }
    return high;
  }

  offsetAt(index: number): number {
    return this.#entries[index * 2] ?? 0;
  }

  positionAt(index: number): number {
    return this.#entries[index * 2 + 1] ?? 0;
  }

  /** Keeps so many entries. */
  truncate(count: number): void {
    this.#count = count;
  }

  /** The file's bytes from an entry on. */
  encode(fromIndex: number): Buffer {
    const bytes = Buffer.allocUnsafe((this.#count - fromIndex) * OFFSET_ENTRY_BYTES);
    for (let index = fromIndex; index < this.#count; index++) {
      const at = (index - fromIndex) * OFFSET_ENTRY_BYTES;
      bytes.writeUInt32BE(this.offsetAt(index), at);
      bytes.writeUInt32BE(this.positionAt(index), at + 4);
    }
    return bytes;
  }

  /**
   * Reads a file's bytes, as far as they point below limitPosition.
   *
   * Returns null if they are not an index: cut in the middle of an entry, or not rising.
   */
  static decode(bytes: Buffer, limitPosition: number): OffsetIndex | null {
    if (bytes.length % OFFSET_ENTRY_BYTES !== 0) return null;
    const index = new OffsetIndex();
    let lastOffset = -1;
    let lastPosition = -1;
    for (let at = 0; at < bytes.length; at += OFFSET_ENTRY_BYTES) {
      const relativeOffset = bytes.readUInt32BE(at);
      const position = bytes.readUInt32BE(at + 4);
      if (relativeOffset <= lastOffset || position <= lastPosition) return null;
      if (position >= limitPosition) break;
      index.append(relativeOffset, position);
      lastOffset = relativeOffset;
      lastPosition = position;
    }
    return index;
  }

  #grow(): void {
    const grown = new Uint32Array(Math.max(INITIAL_ENTRIES * 2, this.#entries.length * 2));
    grown.set(this.#entries);
    this.#entries = grown;
  }
}
