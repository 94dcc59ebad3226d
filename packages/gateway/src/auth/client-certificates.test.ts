import assert from "node:assert/strict";
import { Agent, request } from "node:https";
import { after, before, suite, test } from "node:test";
import type { TLSSocket } from "node:tls";
import type { Logger } from "@millrace/base";
import {
  type StartedBroker,
  serverCertificate,
  serverKey,
  startBroker,
  testAuthority,
  testClientAuthority,
  testClientCertificate,
  testClientKey,
} from "@millrace/testing";
import { Gateway } from "../gateway.ts";
import type { GatewayConfig, GatewayTls } from "../options.ts";

const ALICE = "User:CN=alice,OU=tests,O=Millrace";
const alice = { cert: testClientCertificate, key: testClientKey };
/** Of an authority that the gateway does not take clients from. */
const stranger = { cert: serverCertificate, key: serverKey };
const tls: GatewayTls = { cert: serverCertificate, key: serverKey, ca: testClientAuthority };
const requested: GatewayTls = { ...tls, clientAuth: "requested" };

interface Call {
  readonly path: string;
  readonly body?: string;
  readonly headers?: Readonly<Record<string, string>>;
  /** The client's own certificate. */
  readonly certificate?: { readonly cert: string; readonly key: string };
}

suite("a gateway that asks clients for certificates", { concurrency: false }, () => {
  let started: StartedBroker;
  const lines: { readonly fields: Readonly<Record<string, unknown>>; readonly message: string }[] = [];
  const tell = (fields: object, message: string) => lines.push({ fields: { ...fields }, message });
  const logger: Logger = { debug: () => {}, info: tell, warn: tell, error: tell };

  before(async () => {
    started = await startBroker();
  });

  after(() => started.close());

  async function open(config: GatewayConfig): Promise<Gateway> {
    lines.length = 0;
    return Gateway.open({ port: 0, bootstrapServers: started.server, audit: "requests", logger, ...config });
  }

  test("lets in who has a certificate or a key, where one is requested", async () => {
    await using gateway = await open({ tls: requested, apiKeys: ["operator-key"] });
    const path = "/api/topics";
    const key = { authorization: "Bearer operator-key" };

    assert.equal((await call(gateway, { path })).status, 401);
    assert.equal((await call(gateway, { path, headers: key })).status, 200);
    assert.equal((await call(gateway, { path, certificate: alice })).status, 200);
  });

  test("takes the key for what it may do, where a request has both", async () => {
    await using gateway = await open({ tls: requested, apiKeys: ["operator-key"], dataDir: "memory" });
    const body = '{"scopes":["produce"],"name":"billing"}';
    const created = await call(gateway, { path: "/api/keys", body, certificate: alice });
    const { key, id } = JSON.parse(created.text);
    lines.length = 0;

    const refused = await call(gateway, { path: "/metrics", headers: { "x-api-key": key }, certificate: alice });
    const wrong = await call(gateway, { path: "/metrics", headers: { "x-api-key": `${key}x` }, certificate: alice });

    assert.equal(created.status, 201);
    assert.deepEqual([refused.status, wrong.status], [403, 401]);
    const [first] = lines;
    assert.deepEqual(
      [first?.message, first?.fields.principal, first?.fields.key],
      ["audit: request refused", ALICE, id],
    );
  });

  test("refuses a certificate of another authority, whether it had to be shown or not", async () => {
    for (const settings of [requested, tls]) {
      await using gateway = await open({ tls: settings });

      await assert.rejects(call(gateway, { path: "/health/live", certificate: stranger }), settings.clientAuth);
    }
  });

  test("lets nobody in without one, where it is required", async () => {
    await using gateway = await open({ tls });

    await assert.rejects(call(gateway, { path: "/health/live" }));
    assert.equal((await call(gateway, { path: "/health/live", certificate: alice })).status, 200);
  });

  test("asks for a key too, where a certificate is required and keys are", async () => {
    await using gateway = await open({ tls, apiKeys: ["operator-key"] });
    const path = "/api/topics";

    assert.equal((await call(gateway, { path, certificate: alice })).status, 401);
    const headers = { authorization: "operator-key" };
    assert.equal((await call(gateway, { path, certificate: alice, headers })).status, 200);
    assert.deepEqual(
      lines.filter(({ message }) => message === "audit: request").map(({ fields }) => [fields.principal, fields.key]),
      [
        [ALICE, undefined],
        [ALICE, "fixed-1"],
      ],
    );
  });

  test("tells in audit lines whose certificate it was, on the first connection and on a session taken up again", async () => {
    await using gateway = await open({ tls });
    const agent = new Agent({ keepAlive: false, maxCachedSessions: 10 });

    const first = await call(gateway, { path: "/api/topics", certificate: alice }, agent);
    const second = await call(gateway, { path: "/api/topics", certificate: alice }, agent);

    assert.deepEqual([first.status, second.status], [200, 200]);
    assert.deepEqual([first.isSessionReused, second.isSessionReused], [false, true]);
    assert.deepEqual(
      lines.map(({ message, fields }) => [message, fields.principal]),
      [
        ["audit: certificate used", ALICE],
        ["audit: request", ALICE],
        ["audit: request", ALICE],
      ],
    );
  });
});

interface Answer {
  readonly status: number | undefined;
  readonly text: string;
  readonly isSessionReused: boolean;
}

function call({ address }: Gateway, asked: Call, agent: Agent | false = false): Promise<Answer> {
  const { path, body, headers, certificate } = asked;
  const method = body === undefined ? "GET" : "POST";
  const options = { port: address.port, path, method, ca: testAuthority, agent, headers, ...certificate };
  return new Promise((resolve, reject) => {
    const sent = request(options, async (answer) => {
      let text = "";
      for await (const chunk of answer.setEncoding("utf8")) text += chunk;
      const isSessionReused = (answer.socket as TLSSocket).isSessionReused(); // what node:https always gives
      resolve({ status: answer.statusCode, text, isSessionReused });
    });
    sent.on("error", reject).end(body);
  });
}
