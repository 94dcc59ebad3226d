/** What every Network does. */

import assert from "node:assert/strict";
import { afterEach, beforeEach, describe, test } from "node:test";
import type { ByteStream, Listener, Network } from "@millrace/base";

export interface NetworkUnderTest {
  readonly network: Network;
  /** The host to listen on and to connect to. */
  readonly host: string;
  /** Lets time go by until the condition holds; rejects if that takes too long. */
  readonly until: (what: string, condition: () => boolean) => Promise<void>;
}

/** More than any stream takes before it asks to wait. */
const FLOOD_LIMIT_BYTES = 256 * 1024 * 1024;
const FLOOD_CHUNK_BYTES = 256 * 1024;

export function networkSuite(name: string, open: () => NetworkUnderTest): void {
  describe(name, () => {
    let network: Network;
    let until: NetworkUnderTest["until"];
    let host: string;
    let listeners: Listener[] = [];
    let streams: ByteStream[] = [];

    /** A listener on any port, and each end of a connection to it, started. */
    async function connect(options: { readonly answersEnd?: boolean } = {}) {
      const accepted: ByteStream[] = [];
      const listener = await listen((stream) => accepted.push(stream));
      const near = new Observed(network.connect(listener.address), options);
      streams.push(near.stream);
      await until("the connection is open at both ends", () => near.isOpen && accepted.length === 1);
      const [stream] = accepted;
      assert.ok(stream);
      const far = new Observed(stream, options);
      streams.push(stream);
      return { listener, near, far };
    }

    async function listen(onStream: (stream: ByteStream) => void) {
      const listener = await network.listen({ host, port: 0 }, onStream);
      listeners.push(listener);
      return listener;
    }

    beforeEach(() => {
      ({ network, host, until } = open());
    });
    afterEach(async () => {
      for (const stream of streams) stream.destroy();
      for (const listener of listeners) await listener.close();
      streams = [];
      listeners = [];
    });

    test("gives a listener on port 0 a port of its own", async () => {
      const first = await listen(() => {});
      const second = await listen(() => {});

      assert.ok(first.address.port > 0);
      assert.notEqual(first.address.port, second.address.port);
      assert.equal(first.address.host, host);
    });

    test("refuses to listen twice on one port", async () => {
      const { address } = await listen(() => {});

      await assert.rejects(
        network.listen(address, () => {}),
        { code: "EADDRINUSE" },
      );
    });

    test("lets a port be listened to again after it was closed", async () => {
      const { address, close } = await listen(() => {});
      await close();

      const again = await network.listen(address, () => {});
      listeners.push(again);

      assert.equal(again.address.port, address.port);
    });

    test("tells of a connect that nobody listens to by onClose, with ECONNREFUSED", async () => {
      const { address, close } = await listen(() => {});
      await close();

      const refused = new Observed(network.connect(address));

      await until("the connect has failed", () => refused.isClosed);
      assert.equal(errorCode(refused.error), "ECONNREFUSED");
      assert.equal(refused.isOpen, false);
    });

    test("tells both ends that the connection is open, and who the other is", async () => {
      const { near, far, listener } = await connect();

      await until("the accepting end was told too", () => far.isOpen);
      assert.equal(near.stream.remote, `${host}:${listener.address.port}`);
      assert.notEqual(far.stream.remote, "");
    });

    test("carries bytes both ways, in order", async () => {
      const { near, far } = await connect();

      for (let index = 0; index < 100; index++) near.stream.write([Buffer.from(`${index},`)]);
      far.stream.write([Buffer.from("an"), Buffer.from("swer")]);

      const numbers = Array.from({ length: 100 }, (_, index) => `${index},`).join("");
      await until("all has arrived", () => far.text.length === numbers.length && near.text.length === 6);
      assert.equal(far.text, numbers);
      assert.equal(near.text, "answer");
    });

    test("carries what was written before the connection was open", async () => {
      let far: Observed | undefined;
      const listener = await listen((stream) => {
        streams.push(stream);
        far = new Observed(stream);
      });

      const near = new Observed(network.connect(listener.address));
      streams.push(near.stream);
      near.stream.write([Buffer.from("early")]);

      await until("it has arrived", () => far?.text === "early");
    });

    test("keeps what arrives before start, and delivers it then", async () => {
      const accepted: ByteStream[] = [];
      const listener = await listen((stream) => accepted.push(stream));
      const near = new Observed(network.connect(listener.address));
      streams.push(near.stream);
      near.stream.write([Buffer.from("waiting")]);
      await until("the connection is there", () => accepted.length === 1 && near.isOpen);
      const [stream] = accepted;
      assert.ok(stream);

      const far = new Observed(stream);

      await until("it has arrived", () => far.text === "waiting");
    });

    test("makes the writer wait while the reader is paused, and drains when it goes on", async () => {
      const { near, far } = await connect();
      far.stream.pause();
      const chunk = Buffer.alloc(FLOOD_CHUNK_BYTES, "x");

      let sentBytes = 0;
      let isWritable = true;
      while (isWritable && sentBytes < FLOOD_LIMIT_BYTES) {
        isWritable = near.stream.write([chunk]);
        sentBytes += chunk.length;
      }

      assert.equal(isWritable, false);
      assert.ok(near.stream.bufferedBytes > 0);
      assert.equal(near.drainCount, 0);
      far.stream.resume();
      await until("all has arrived", () => far.receivedBytes === sentBytes);
      await until("the writer was told", () => near.drainCount > 0);
      assert.equal(near.stream.bufferedBytes, 0);
    });

    test("delivers nothing while paused", async () => {
      const { near, far } = await connect();
      far.stream.pause();
      near.stream.write([Buffer.from("held")]);
      far.stream.write([Buffer.from("other way")]);
      await until("the other direction has arrived", () => near.text === "other way");

      assert.equal(far.text, "");
      far.stream.resume();
      await until("it has arrived", () => far.text === "held");
    });

    for (const first of ["connecting", "accepting"] as const) {
      test(`end of the ${first} side comes after what it wrote; the other side may still write`, async () => {
        const { near, far } = await connect({ answersEnd: false });
        const [ending, other] = first === "connecting" ? [near, far] : [far, near];

        ending.stream.write([Buffer.from("last words")]);
        ending.stream.end();
        await until("the end has arrived", () => other.hasEnded);
        assert.equal(other.text, "last words");

        other.stream.write([Buffer.from("answer")]);
        other.stream.end();
        await until("both are closed", () => near.isClosed && far.isClosed);
        assert.equal(ending.text, "answer");
        assert.equal(near.error, null);
        assert.equal(far.error, null);
      });
    }

    test("an end that nobody handles is answered by an end", async () => {
      const { near, far } = await connect();

      near.stream.end();

      await until("both are closed", () => near.isClosed && far.isClosed);
      assert.equal(near.error, null);
      assert.equal(far.error, null);
    });

    test("destroy closes both ends; its error is told to its own", async () => {
      const { near, far } = await connect();

      near.stream.destroy(new Error("enough"));
      near.stream.destroy(new Error("again"));

      await until("both are closed", () => near.isClosed && far.isClosed);
      assert.equal(near.error?.message, "enough");
      assert.equal(near.closeCount, 1);
      assert.equal(far.closeCount, 1);
    });

    test("a write after close has no effect and says so", async () => {
      const { near, far } = await connect();
      near.stream.destroy();
      await until("both are closed", () => near.isClosed && far.isClosed);

      assert.equal(near.stream.write([Buffer.from("x")]), false);
      near.stream.end();

      assert.equal(far.text, "");
    });

    test("a stream that closed before start tells it at start", async () => {
      const { address, close } = await listen(() => {});
      await close();
      const stream = network.connect(address);
      stream.destroy(new Error("changed my mind"));

      const late = new Observed(stream);

      await until("it is told", () => late.isClosed);
      assert.equal(late.isOpen, false);
    });

    test("a listener that closes accepts no more, and leaves open connections alone", async () => {
      const { listener, near, far } = await connect();

      // A TCP listener's close waits for its connections; it accepts no more at once.
      const closed = listener.close();
      near.stream.write([Buffer.from("still here")]);

      await until("it has arrived", () => far.text === "still here");
      const refused = new Observed(network.connect(listener.address));
      await until("the connect has failed", () => refused.isClosed);
      near.stream.destroy();
      far.stream.destroy();
      await closed;
    });
  });
}

/** One end of a connection, started, with all that it was told. */
class Observed {
  readonly stream: ByteStream;
  isOpen = false;
  hasEnded = false;
  closeCount = 0;
  drainCount = 0;
  error: Error | null = null;
  readonly #received: Buffer[] = [];

  /** answersEnd: true leaves the end of the other side to the stream. */
  constructor(stream: ByteStream, options: { readonly answersEnd?: boolean } = {}) {
    this.stream = stream;
    const onEnd = () => {
      this.hasEnded = true;
    };
    stream.start({
      onOpen: () => {
        this.isOpen = true;
      },
      onData: (bytes) => {
        this.#received.push(Buffer.from(bytes));
      },
      onDrain: () => {
        this.drainCount += 1;
      },
      ...(options.answersEnd === false ? { onEnd } : {}),
      onClose: (error) => {
        this.closeCount += 1;
        this.error = error;
      },
    });
  }

  get isClosed(): boolean {
    return this.closeCount > 0;
  }

  get receivedBytes(): number {
    return this.#received.reduce((sum, bytes) => sum + bytes.length, 0);
  }

  get text(): string {
    return Buffer.concat(this.#received).toString();
  }
}

function errorCode(error: Error | null): unknown {
  return error !== null && "code" in error ? error.code : null;
}
