/** Confluent's wire format: a zero byte, the schema's id in four bytes, then what the schema is about. */

export const WIRE_MAGIC = 0;
export const WIRE_HEADER_BYTES = 5;

/** The id of the schema that these bytes were written with; null if they are no such record. */
export function schemaIdOf(bytes: Buffer): number | null {
  return bytes.length >= WIRE_HEADER_BYTES && bytes[0] === WIRE_MAGIC ? bytes.readUInt32BE(1) : null;
}

/** The bytes from start to end, behind the header. */
export function wireBytes(schemaId: number, content: Buffer, start: number, end: number): Buffer {
  const bytes = Buffer.allocUnsafe(WIRE_HEADER_BYTES + end - start);
  bytes[0] = WIRE_MAGIC;
  bytes.writeUInt32BE(schemaId, 1);
  content.copy(bytes, WIRE_HEADER_BYTES, start, end);
  return bytes;
}
