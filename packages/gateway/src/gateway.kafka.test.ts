import { after, before, suite, test } from "node:test";
import { gatewaySuite } from "@millrace/testing";
import { Gateway } from "./gateway.ts";

const bootstrap = process.env.KAFKA_BOOTSTRAP;

if (bootstrap === undefined) {
  test("the gateway over Apache Kafka", { skip: "KAFKA_BOOTSTRAP is not set" }, () => {});
} else {
  suite("over Apache Kafka", { concurrency: false }, () => {
    let gateway: Gateway;

    before(async () => {
      gateway = await Gateway.open({ port: 0, bootstrapServers: bootstrap });
    });

    after(() => gateway.close());

    gatewaySuite("the gateway", () => ({ url: `http://127.0.0.1:${gateway.address.port}`, server: bootstrap }));
  });
}
