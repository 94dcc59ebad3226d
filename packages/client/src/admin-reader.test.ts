import { after, before } from "node:test";
import { adminReaderSuite, type StartedBroker, startBroker } from "@millrace/testing";

let started: StartedBroker;

before(async () => {
  started = await startBroker();
});

after(() => started.close());

adminReaderSuite("Admin and Reader on the embedded broker", () => started.server);
