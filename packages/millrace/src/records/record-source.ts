/** Files and stdin, read into records: a chunk at a time, so that a file of any size needs the memory of a chunk. */

import { createReadStream } from "node:fs";
import { open, stat } from "node:fs/promises";
import { formatBytes } from "@millrace/base";
import type { ProducerRecord } from "@millrace/client";
import { CommandError } from "../command/errors.ts";
import { splitLines } from "./lines.ts";

const READ_BYTES = 256 * 1024;
/** The operand that stands for stdin, as everywhere. */
export const STDIN = "-";

/** Records that were read together, and what could not be read as one. */
export interface RecordChunk {
  readonly records: readonly ProducerRecord[];
  /** Where a record stands, by its index: "line 12", "events.txt line 12". Asked for failures only. */
  placeOf(index: number): string;
  readonly failures: readonly { readonly place: string; readonly reason: string }[];
  /** Of the input, delimiters included as far as they were read. */
  readonly sizeBytes: number;
}

/** Makes a record of a line, without the topic's checks. Throws an Error whose message says what is wrong with the line. */
export type LineReader = (line: Buffer) => ProducerRecord;

export interface Input {
  /** As it is named in messages; empty where there is one input only. */
  readonly label: string;
  readonly path: string;
  /** Null for stdin and pipes. */
  readonly sizeBytes: number | null;
}

/** Looks that all files are there before the first record is sent. Throws CommandError for one that is not. */
export async function openInputs(paths: readonly string[]): Promise<Input[]> {
  const given = paths.length === 0 ? [STDIN] : paths;
  return Promise.all(
    given.map(async (path) => {
      const label = given.length === 1 ? "" : `${path} `;
      if (path === STDIN) return { label, path, sizeBytes: null };
      try {
        const found = await stat(path);
        if (found.isDirectory()) throw new Error("it is a folder");
        await (await open(path)).close();
        return { label, path, sizeBytes: found.isFile() ? found.size : null };
      } catch (error) {
        throw new CommandError(`cannot read ${path}: ${error instanceof Error ? error.message : String(error)}`);
      }
    }),
  );
}

/** A record for each line of each input. skipsBlank: lines of nothing but spaces are no records. */
export async function* readLines(
  inputs: readonly Input[],
  stdin: AsyncIterable<Buffer>,
  delimiter: Buffer,
  readLine: LineReader,
  skipsBlank: boolean,
): AsyncGenerator<RecordChunk> {
  for (const input of inputs) {
    let lineNumber = 0;
    for await (const lines of splitLines(chunksOf(input, stdin), delimiter)) {
      const records: ProducerRecord[] = [];
      const lineNumbers: number[] = [];
      const failures: { place: string; reason: string }[] = [];
      let sizeBytes = 0;
      for (const line of lines) {
        lineNumber += 1;
        sizeBytes += line.length + delimiter.length;
        if (skipsBlank && isBlank(line)) continue;
        try {
          records.push(readLine(line));
          lineNumbers.push(lineNumber);
        } catch (error) {
          const place = placeOfLine(input, lineNumber);
          failures.push({ place, reason: error instanceof Error ? error.message : String(error) });
        }
      }
      const placeOf = (index: number) => placeOfLine(input, lineNumbers[index]);
      yield { records, placeOf, failures, sizeBytes };
    }
  }
}

function placeOfLine(input: Input, lineNumber: number | undefined): string {
  return `${input.label}line ${lineNumber}`;
}

/** One record for each input. limitBytes: what a record may be; a larger file is a failure and is not read. */
export async function* readWhole(
  inputs: readonly Input[],
  stdin: AsyncIterable<Buffer>,
  limitBytes: number,
  toRecord: LineReader,
): AsyncGenerator<RecordChunk> {
  for (const input of inputs) {
    const place = input.path === STDIN ? "stdin" : input.path;
    const placeOf = () => place;
    const value = await readUpTo(chunksOf(input, stdin), limitBytes);
    if (value === null) {
      const reason = `more than ${formatBytes(limitBytes)}, the largest record that is sent (--max-request-size)`;
      yield { records: [], placeOf, failures: [{ place, reason }], sizeBytes: input.sizeBytes ?? limitBytes };
    } else yield { records: [toRecord(value)], placeOf, failures: [], sizeBytes: value.length };
  }
}

async function readUpTo(chunks: AsyncIterable<Buffer>, limitBytes: number): Promise<Buffer | null> {
  const parts: Buffer[] = [];
  let sizeBytes = 0;
  for await (const chunk of chunks) {
    sizeBytes += chunk.length;
    if (sizeBytes > limitBytes) return null;
    parts.push(chunk);
  }
  return Buffer.concat(parts);
}

function chunksOf(input: Input, stdin: AsyncIterable<Buffer>): AsyncIterable<Buffer> {
  return input.path === STDIN ? stdin : createReadStream(input.path, { highWaterMark: READ_BYTES });
}

function isBlank(line: Buffer): boolean {
  return line.every((byte) => byte === 0x20 || byte === 0x09 || byte === 0x0d);
}
