/** `millrace consume`: the records of a topic on stdout. */

import type { ConsumedRecord } from "@millrace/client";
import { defineCommand } from "../command/define-command.ts";
import { EXIT_DONE } from "../command/errors.ts";
import type { Io } from "../command/spec.ts";
import { clientVariable, connectionSection } from "../options/connection.ts";
import { consumeOptions } from "../options/consume.ts";
import { parsePosition } from "../options/start-position.ts";
import { recordLine } from "../records/record-json.ts";
import { findRanges, readRanges } from "../records/topic-reader.ts";
import { Output } from "../terminal/output.ts";
import { withClientErrors } from "./client-errors.ts";

type ConsumeOptions = ReturnType<typeof consumeOptions.resolve>;

export const consumeCommand = defineCommand(
  {
    name: "consume",
    summary: "Prints the records of a topic, from all its partitions, up to what was the end when it started.",
    examples: [
      { command: "millrace consume orders", meaning: "all values, a line each" },
      { command: "millrace consume orders --from -10 --follow", meaning: "ten of each partition, then what comes" },
      { command: "millrace consume orders --format json | jq .key", meaning: "whole records, for other programs" },
      { command: "millrace consume orders --format json | millrace produce copy --format ndjson", meaning: "a copy" },
    ],
    operands: [{ name: "TOPIC", doc: "The topic to read." }],
    options: consumeOptions,
    sections: [connectionSection],
    notes: [
      "Records of different partitions come in the order of their timestamps, records of one partition in the order of their offsets. With --follow, what comes after the end is printed as it comes.",
      "Format json writes partition, offset, timestamp, key, keyFormat, value, valueFormat and headers. A value that is JSON stands there as it is; any other has valueFormat string or binary (base64), keys always have a keyFormat. A missing key or value is null.",
      "Formats text and raw print a missing value (a tombstone) as an empty one; json tells them apart.",
    ],
    variableOf: clientVariable("consume"),
  },
  async ({ options, operands: [topic = ""], io }) => {
    // Ctrl-C is how one ends --follow: the end of the work, not a failure.
    if (options.follow) process.on("SIGINT", () => process.exit(EXIT_DONE));
    await withClientErrors(options, () => consume(topic, options, io));
    return EXIT_DONE;
  },
);

async function consume(topic: string, options: ConsumeOptions, io: Io): Promise<void> {
  const from = parsePosition(options.from, Date.now());
  if (from === null) throw new TypeError(`from is ${options.from}`);
  const ranges = await findRanges(options, topic, options.partition, from);
  const output = new Output(io.stdout);
  const format = formatter(options, io.stdout.isTTY === true);
  let leftCount = options.limit ?? Number.POSITIVE_INFINITY;
  for await (const records of readRanges(options, topic, ranges, options.follow)) {
    for (const record of records) {
      output.push(...format(record));
      if (output.isFull) await output.drain();
      leftCount -= 1;
      if (leftCount === 0) break;
    }
    // What is there is shown before more is waited for.
    await output.drain();
    if (leftCount === 0) break;
  }
}

function formatter(options: ConsumeOptions, isTerminal: boolean): (record: ConsumedRecord) => readonly Uint8Array[] {
  const none = Buffer.alloc(0);
  const delimiter = Buffer.from(options.delimiter);
  const separator = options.keySeparator === null ? null : Buffer.from(options.keySeparator);
  const shown = (bytes: Buffer | null) => (bytes === null ? none : isTerminal ? printable(bytes) : bytes);
  switch (options.format) {
    case "json":
      return recordLine;
    case "raw":
      return (record) => [record.value ?? none, delimiter];
    case "text":
      if (separator === null) return (record) => [shown(record.value), delimiter];
      return (record) => [shown(record.key), separator, shown(record.value), delimiter];
  }
}

/** A record must not be able to move the cursor, or do worse, on the terminal of whoever looks at it. */
function printable(bytes: Buffer): Buffer {
  // biome-ignore lint/suspicious/noControlCharactersInRegex: control characters are what this is about
  const text = bytes.toString("utf8").replace(/[\u0000-\u0008\u000b-\u001f\u007f-\u009f]/g, (character) => {
    return `\\x${character.charCodeAt(0).toString(16).padStart(2, "0")}`;
  });
  return Buffer.from(text);
}
