import assert from "node:assert/strict";
import { test } from "node:test";
import { CommandError } from "../command/errors.ts";
import { splitLines } from "./lines.ts";

async function linesOf(chunks: readonly string[], delimiter = "\n", limitBytes = 1024): Promise<string[]> {
  async function* stream() {
    for (const chunk of chunks) yield Buffer.from(chunk, "latin1");
  }
  const lines: string[] = [];
  for await (const batch of splitLines(stream(), Buffer.from(delimiter), limitBytes)) {
    lines.push(...batch.map((line) => line.toString("latin1")));
  }
  return lines;
}

test("a line ends at a newline, and the last one needs none", async () => {
  assert.deepEqual(await linesOf(["a\nbc\nd"]), ["a", "bc", "d"]);
  assert.deepEqual(await linesOf(["a\nbc\n"]), ["a", "bc"]);
  assert.deepEqual(await linesOf([]), []);
});

test("a carriage return, a zero and bytes that are no UTF-8 stay in the line", async () => {
  assert.deepEqual(await linesOf(["a\r\n\xff\xfe\0\n\r"]), ["a\r", "\xff\xfe\0", "\r"]);
});

test("an empty line is a line", async () => {
  assert.deepEqual(await linesOf(["\n\na\n\n"]), ["", "", "a", ""]);
});

test("it does not matter where the chunks are cut", async () => {
  const text = "one\r\ntwo\r\n\r\nthree\r\rfour\r\n";
  const expected = ["one", "two", "", "three\r\rfour"];
  for (let sizeBytes = 1; sizeBytes <= text.length; sizeBytes++) {
    const chunks = Array.from({ length: Math.ceil(text.length / sizeBytes) }, (_, index) =>
      text.slice(index * sizeBytes, (index + 1) * sizeBytes),
    );

    const lines = await linesOf(chunks, "\r\n");

    assert.deepEqual(lines, expected, `chunks of ${sizeBytes}`);
  }
});

test("a line that never ends is refused before it fills the memory", async () => {
  await assert.rejects(linesOf(["abcdef", "ghijkl"], "\n", 8), CommandError);
});
