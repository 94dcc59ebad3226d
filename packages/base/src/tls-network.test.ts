import assert from "node:assert/strict";
import { test } from "node:test";
import { networkSuite, TlsTestNetwork, testAuthority, waitUntil } from "@millrace/testing";
import type { Listener } from "./network.ts";
import { tcpNetwork } from "./tcp-network.ts";
import { TlsNetwork, type TlsOptions } from "./tls-network.ts";

networkSuite("TlsNetwork", () => ({ network: new TlsTestNetwork(), host: "127.0.0.1", until: waitUntil }));

/** Node tells no end of a server whose client left in the middle of the handshake, so nobody waits for it here. */
function closeSoon(listener: Listener): void {
  void listener.close();
}

/** How a connect with these options ended: "open", or what onClose was told. */
async function connectWith(options: () => TlsOptions, host = "127.0.0.1"): Promise<string> {
  const listener = await new TlsTestNetwork().listen({ host, port: 0 }, (stream) => {
    stream.start({ onData: () => {}, onClose: () => {} });
  });
  const stream = new TlsNetwork(options).connect(listener.address);
  const outcome = await new Promise<string>((resolve) => {
    stream.start({
      onOpen: () => resolve("open"),
      onData: () => {},
      onClose: (error) => resolve(error === null ? "closed" : String(Reflect.get(error, "code"))),
    });
  });
  stream.destroy();
  closeSoon(listener);
  return outcome;
}

test("a server whose authority is trusted is connected to, by its address and by its name", async () => {
  assert.equal(await connectWith(() => ({ ca: testAuthority })), "open");
  assert.equal(await connectWith(() => ({ ca: [testAuthority] }), "localhost"), "open");
});

test("a server whose authority is not known is refused, unless that was asked for", async () => {
  assert.equal(await connectWith(() => ({})), "UNABLE_TO_VERIFY_LEAF_SIGNATURE");
  assert.equal(await connectWith(() => ({ rejectUnauthorized: false })), "open");
});

test("a server whose certificate is for another name is refused", async () => {
  const outcome = await connectWith(() => ({ ca: testAuthority, servername: "broker.example" }));

  assert.equal(outcome, "ERR_TLS_CERT_ALTNAME_INVALID");
});

test("a key that cannot be read is told as a failed connect", async () => {
  const outcome = await connectWith(() => ({ ca: testAuthority, key: "no key" }));

  assert.match(outcome, /^ERR_OSSL_/);
});

test("options are asked for at each connect, so that a renewed certificate is used at once", async () => {
  let askedCount = 0;
  const network = new TlsTestNetwork(() => {
    askedCount += 1;
    return { ca: testAuthority };
  });
  const listener = await network.listen({ host: "127.0.0.1", port: 0 }, (stream) => stream.destroy());

  network.connect(listener.address).destroy();
  network.connect(listener.address).destroy();
  closeSoon(listener);

  assert.equal(askedCount, 2);
});

test("a server that speaks no TLS is not taken for one that does", async () => {
  const listener = await tcpNetwork.listen({ host: "127.0.0.1", port: 0 }, (stream) => {
    stream.start({ onData: () => stream.write([Buffer.from("HTTP/1.1 400 Bad Request\r\n\r\n")]), onClose: () => {} });
  });
  const stream = new TlsNetwork(() => ({})).connect(listener.address);
  let isOpen = false;

  const error = await new Promise<Error | null>((resolve) => {
    stream.start({
      onOpen: () => {
        isOpen = true;
      },
      onData: () => {},
      onClose: resolve,
    });
  });
  await listener.close();

  assert.ok(error !== null);
  assert.equal(isOpen, false);
});
