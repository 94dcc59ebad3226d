import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { SeededRandom } from "@millrace/base";
import { crc32c, portableCrc32c } from "./crc32c.ts";

const ascending = Buffer.from(Array.from({ length: 32 }, (_, index) => index));

/** RFC 3720, appendix B.4, and the check value of the Rocksoft catalogue. */
const published: readonly (readonly [name: string, bytes: Buffer, crc: number])[] = [
  ["nothing", Buffer.alloc(0), 0],
  ["the digits 1 to 9", Buffer.from("123456789"), 0xe3069283],
  ["32 bytes of zeros", Buffer.alloc(32), 0x8a9136aa],
  ["32 bytes of ones", Buffer.alloc(32, 0xff), 0x62a8ab43],
  ["32 ascending bytes", ascending, 0x46dd794e],
  ["32 descending bytes", Buffer.from(ascending).reverse(), 0x113fdb5c],
];

for (const [name, bytes, crc] of published) {
  test(`crc32c gives the published checksum of ${name}`, () => {
    assert.equal(crc32c(bytes), crc);
  });
}

describe("crc32c of any length", () => {
  const bytes = new SeededRandom(1).bytes(2000);

  test("is the same in native code and in our own", () => {
    for (let length = 0; length <= bytes.length; length += 7) {
      const part = bytes.subarray(length % 5, length);
      assert.equal(crc32c(part), portableCrc32c(part), `${length} bytes`);
    }
  });

  test("of two parts, the second seeded with the first, is that of the whole", () => {
    const whole = crc32c(bytes);

    for (const cut of [0, 1, 15, 16, 100, 500, 1999, 2000]) {
      assert.equal(crc32c(bytes.subarray(cut), crc32c(bytes.subarray(0, cut))), whole, `cut at ${cut}`);
    }
  });
});
