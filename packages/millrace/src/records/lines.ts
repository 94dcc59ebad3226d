/** Bytes cut into lines: no decoding, so that a line's bytes are the record's bytes. */

import { formatBytes } from "@millrace/base";
import { CommandError } from "../command/errors.ts";

/** A line without an end is a file of another format; nothing longer fits a Kafka record anyway. */
const MAX_LINE_BYTES = 64 * 1024 * 1024;

/**
 * Cuts a stream of chunks at each delimiter, which is in no line. Yields the lines of a chunk together, as views of it.
 *
 * What follows the last delimiter is a line too, if it has any bytes. An empty line is an empty buffer.
 * Throws CommandError for a line above limitBytes.
 */
export async function* splitLines(
  chunks: AsyncIterable<Buffer>,
  delimiter: Buffer,
  limitBytes: number = MAX_LINE_BYTES,
): AsyncGenerator<Buffer[]> {
  let rest: Buffer = Buffer.alloc(0);
  for await (const chunk of chunks) {
    // A delimiter of several bytes may have begun in the chunk before.
    const searchFrom = Math.max(rest.length - delimiter.length + 1, 0);
    const bytes = rest.length === 0 ? chunk : Buffer.concat([rest, chunk]);
    const { lines, restFrom } = cutLines(bytes, delimiter, searchFrom);
    rest = bytes.subarray(restFrom);
    if (rest.length > limitBytes) {
      throw new CommandError(
        `a line has more than ${formatBytes(limitBytes)}; --format raw sends a whole file as one value, --delimiter names another line end`,
      );
    }
    if (lines.length > 0) yield lines;
  }
  if (rest.length > 0) yield [rest];
}

function cutLines(bytes: Buffer, delimiter: Buffer, searchFrom: number): { lines: Buffer[]; restFrom: number } {
  const lines: Buffer[] = [];
  let lineFrom = 0;
  let end = bytes.indexOf(delimiter, searchFrom);
  while (end !== -1) {
    lines.push(bytes.subarray(lineFrom, end));
    lineFrom = end + delimiter.length;
    end = bytes.indexOf(delimiter, lineFrom);
  }
  return { lines, restFrom: lineFrom };
}
