/** Chance, passed in: the system's, or a seeded one that gives the same run again. */

import { randomBytes } from "node:crypto";

export interface Random {
  /** At least 0, less than 1. */
  float(): number;
  /** A whole number of at least 0, less than bound. */
  integer(bound: number): number;
  /** sizeBytes random bytes; from SystemRandom fit for keys and tokens. */
  bytes(sizeBytes: number): Buffer;
}

export class SystemRandom implements Random {
  float(): number {
    return Math.random();
  }

  integer(bound: number): number {
    return Math.floor(Math.random() * bound);
  }

  bytes(sizeBytes: number): Buffer {
    return randomBytes(sizeBytes);
  }
}

export const systemRandom: Random = new SystemRandom();

/** sfc32 (PractRand's "small fast counting" generator): 128 bits of state, seeded from one number. */
export class SeededRandom implements Random {
  #a = 0;
  #b: number;
  #c = 0x9e3779b9;
  #counter = 1;

  constructor(seed: number) {
    this.#a = Math.floor(seed / 2 ** 32) | 0;
    this.#b = seed | 0;
    // The first outputs of a small seed resemble each other; twelve rounds are what PractRand discards.
    for (let round = 0; round < 12; round++) this.#next();
  }

  float(): number {
    return this.#next() / 2 ** 32;
  }

  integer(bound: number): number {
    return Math.floor(this.float() * bound);
  }

  bytes(sizeBytes: number): Buffer {
    const bytes = Buffer.allocUnsafe(sizeBytes);
    for (let index = 0; index < sizeBytes; index++) bytes[index] = this.#next() & 0xff;
    return bytes;
  }

  #next(): number {
    const sum = (this.#a + this.#b + this.#counter) | 0;
    this.#counter = (this.#counter + 1) | 0;
    this.#a = this.#b ^ (this.#b >>> 9);
    this.#b = (this.#c + (this.#c << 3)) | 0;
    this.#c = ((this.#c << 21) | (this.#c >>> 11)) + sum;
    this.#c |= 0;
    return sum >>> 0;
  }
}
