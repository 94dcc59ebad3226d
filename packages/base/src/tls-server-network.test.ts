import assert from "node:assert/strict";
import { connect } from "node:net";
import { test } from "node:test";
import {
  serverCertificate,
  serverKey,
  testAuthority,
  testClientAuthority,
  testClientCertificate,
  testClientKey,
  waitUntil,
} from "@millrace/testing";
import type { ByteStream } from "./network.ts";
import { TlsNetwork, type TlsOptions } from "./tls-network.ts";
import { TlsServerNetwork, type TlsServerOptions } from "./tls-server-network.ts";

const LOOPBACK = { host: "127.0.0.1", port: 0 };
const trusting: TlsOptions = { ca: testAuthority };
const plain: TlsServerOptions = {
  cert: serverCertificate,
  key: serverKey,
  clientCa: null,
  clientAuth: "none",
};
const alice = { cert: testClientCertificate, key: testClientKey };

async function serve(options: () => TlsServerOptions) {
  const accepted: ByteStream[] = [];
  const listener = await new TlsServerNetwork(options).listen(LOOPBACK, (stream) => {
    accepted.push(stream);
    stream.start({ onData: (bytes) => stream.write([bytes]), onClose: () => {} });
  });
  return { accepted, listener };
}

/** "open" once an echo came back, else how it ended: a client learns only after the handshake that it was refused. */
function echo(network: TlsNetwork, port: number): Promise<string> {
  const stream = network.connect({ ...LOOPBACK, port });
  return new Promise((resolve) => {
    stream.start({
      onOpen: () => stream.write([Buffer.from("x")]),
      onData: () => {
        resolve("open");
        stream.destroy();
      },
      onClose: (error) => resolve(String(Reflect.get(error ?? {}, "code"))),
    });
  });
}

test("a client's certificate gives its name, in the order in which Kafka writes it", async () => {
  const options = { ...plain, clientCa: testClientAuthority, clientAuth: "required" } as const;
  const { accepted, listener } = await serve(() => options);

  assert.equal(await echo(new TlsNetwork(() => ({ ...trusting, ...alice })), listener.address.port), "open");

  assert.equal(accepted[0]?.peerSubject, "CN=alice,OU=tests,O=Millrace");
  await listener.close();
});

test("a client without a certificate is refused where one is required, and nameless where it is not", async () => {
  const strict = { ...plain, clientCa: testClientAuthority, clientAuth: "required" } as const;
  const lenient = { ...strict, clientAuth: "requested" } as const;
  const [first, second] = [await serve(() => strict), await serve(() => lenient)];

  assert.equal(
    await echo(new TlsNetwork(() => trusting), first.listener.address.port),
    "ERR_SSL_TLSV13_ALERT_CERTIFICATE_REQUIRED",
  );
  assert.equal(await echo(new TlsNetwork(() => trusting), second.listener.address.port), "open");

  assert.equal(first.accepted.length, 0);
  assert.equal(second.accepted[0]?.peerSubject, null);
  await first.listener.close();
  await second.listener.close();
});

test("a certificate of another authority is refused, whether one is required or only requested", async () => {
  const stranger = new TlsNetwork(() => ({ ...trusting, cert: serverCertificate, key: serverKey }));
  for (const clientAuth of ["requested", "required"] as const) {
    const { accepted, listener } = await serve(() => ({ ...plain, clientCa: testClientAuthority, clientAuth }));

    assert.notEqual(await echo(stranger, listener.address.port), "open", clientAuth);

    assert.equal(accepted.length, 0);
    await listener.close();
  }
});

test("a renewed certificate is shown to whoever connects next", async () => {
  let options = plain;
  const { listener } = await serve(() => options);
  const oldAuthority = new TlsNetwork(() => trusting);
  const newAuthority = new TlsNetwork(() => ({ ca: testClientAuthority }));
  assert.equal(await echo(oldAuthority, listener.address.port), "open");

  options = { ...plain, ...alice };

  assert.equal(await echo(newAuthority, listener.address.port), "open");
  assert.equal(await echo(oldAuthority, listener.address.port), "UNABLE_TO_VERIFY_LEAF_SIGNATURE");
  await listener.close();
});

test("closing does not wait for a client that began a handshake and says nothing", async () => {
  const { listener } = await serve(() => plain);
  const silent = connect(listener.address.port, "127.0.0.1");
  let isGone = false;
  silent.on("close", () => {
    isGone = true;
  });
  silent.on("error", () => {});
  await new Promise((resolve) => silent.once("connect", resolve));
  silent.write(Buffer.from([0x16, 0x03, 0x01]));
  await new Promise((resolve) => setImmediate(resolve));

  await listener.close();

  await waitUntil("the client is disconnected", () => isGone);
});

test("a key that is none keeps the server from starting", async () => {
  await assert.rejects(serve(() => ({ ...plain, key: "no key" })));
});
