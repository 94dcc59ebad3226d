import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { suite, test } from "node:test";
import { adminReaderSuite, uniqueTopic } from "@millrace/testing";
import { Admin } from "./admin.ts";
import { Reader } from "./reader.ts";

const bootstrap = process.env.KAFKA_BOOTSTRAP;
const control = process.env.KAFKA_CONTROL;

if (bootstrap === undefined) {
  test("Admin and Reader on Apache Kafka", { skip: "KAFKA_BOOTSTRAP is not set" }, () => {});
} else {
  adminReaderSuite("Admin and Reader on Apache Kafka", () => bootstrap);
  leaderChangeSuite(bootstrap);
}

function leaderChangeSuite(servers: string): void {
  const skip = control === undefined ? "KAFKA_CONTROL is not set" : false;
  suite("a cluster of several brokers", { skip, concurrency: false }, () => {
    test("a reader goes on when its leader dies and when it comes back", async (context) => {
      await using admin = new Admin({ bootstrapServers: servers });
      const { brokers } = await admin.describeCluster();
      if (brokers.length < 3) {
        context.skip(`it has ${brokers.length}`);
        return;
      }
      const topic = uniqueTopic("leader-change");
      await admin.createTopics([{ name: topic, partitions: 1 }]);
      const before = (await admin.describeTopic(topic)).partitions[0];
      assert.ok(before !== undefined);
      await using reader = new Reader({ bootstrapServers: servers, topic, from: 0n });
      assert.deepEqual(await reader.read(), []);

      run("kill", before.leaderId);
      try {
        assert.deepEqual(await reader.read(), []);
        const elected = await admin.listOffsets(topic, "latest");
        const after = (await admin.describeTopic(topic)).partitions[0];

        assert.equal(elected.get(0)?.offset, 0n);
        assert.notEqual(after?.leaderId, before.leaderId);
        assert.ok((after?.leaderEpoch ?? 0) > before.leaderEpoch);
        await admin.createTopics([{ name: `${topic}-during`, partitions: 3, replicationFactor: 2 }]);
      } finally {
        run("restart", before.leaderId);
      }
      assert.deepEqual(await reader.read(), []);
      await admin.deleteTopics([topic, `${topic}-during`]);
    });
  });
}

function run(action: string, nodeId: number): void {
  const [command = "", ...args] = (control ?? "").split(" ");
  execFileSync(command, [...args, action, String(nodeId)], { stdio: "ignore" });
}
