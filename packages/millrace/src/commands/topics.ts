/** `millrace topics`: the topics of a cluster, from a terminal. */

import { Admin, type ConfigEntry, KafkaError } from "@millrace/client";
import { defineCommand } from "../command/define-command.ts";
import { EXIT_DONE, UsageError } from "../command/errors.ts";
import type { CommandGroup } from "../command/spec.ts";
import { type ConnectionOptions, clientConfig, clientVariable, connectionSection } from "../options/connection.ts";
import {
  topicsAlterOptions,
  topicsCreateOptions,
  topicsDeleteOptions,
  topicsDescribeOptions,
  topicsListOptions,
} from "../options/topics.ts";
import { renderTable } from "../terminal/table.ts";
import { withClientErrors } from "./client-errors.ts";

const topicOperand = { name: "TOPIC", doc: "The names of the topics.", isMany: true };

const listCommand = defineCommand(
  {
    name: "topics list",
    summary: "Lists the topics and how many partitions each has.",
    examples: [{ command: "millrace topics list", meaning: "all topics of the broker on this machine" }],
    operands: [],
    options: topicsListOptions,
    sections: [connectionSection],
    variableOf: clientVariable("topics list"),
  },
  ({ options, io }) =>
    withAdmin(options, async (admin) => {
      const topics = await admin.listTopics({ includeInternal: options.internal });
      const rows = topics.map((topic) => [topic.name, topic.partitions.length] as const);
      if (options.json)
        printJson(
          io.stdout,
          rows.map(([name, partitions]) => ({ name, partitions })),
        );
      else if (rows.length > 0) io.stdout.write(renderTable(["topic", "partitions"], rows));
      else io.stderr.write("no topics yet; millrace topics create NAME makes one\n");
      return EXIT_DONE;
    }),
);

const createCommand = defineCommand(
  {
    name: "topics create",
    summary: "Creates topics, and returns once they can be written to.",
    examples: [
      { command: "millrace topics create orders", meaning: "with the broker's number of partitions" },
      {
        command: "millrace topics create orders --partitions 12 --set retention.ms=86400000",
        meaning: "records are kept for a day",
      },
    ],
    operands: [topicOperand],
    options: topicsCreateOptions,
    sections: [connectionSection],
    variableOf: clientVariable("topics create"),
  },
  ({ options, operands, io }) =>
    withAdmin(options, async (admin) => {
      const config = readSettings(options.set);
      for (const name of operands) {
        const topic = {
          name,
          config,
          ...(options.partitions === null ? {} : { partitions: options.partitions }),
          ...(options.replicationFactor === null ? {} : { replicationFactor: options.replicationFactor }),
        };
        const isNew = await unlessCode("TOPIC_ALREADY_EXISTS", options.ifNotExists, () => admin.createTopics([topic]));
        const { partitions } = await admin.describeTopic(name);
        io.stdout.write(`${name}: ${isNew ? "created" : "is there already"}, ${partitions.length} partitions\n`);
      }
      return EXIT_DONE;
    }),
);

const describeCommand = defineCommand(
  {
    name: "topics describe",
    summary:
      "Shows the partitions of topics: who leads them, and which offsets they hold; and what is set for the topic itself.",
    examples: [{ command: "millrace topics describe orders", meaning: "its partitions and their offsets" }],
    operands: [topicOperand],
    options: topicsDescribeOptions,
    sections: [connectionSection],
    variableOf: clientVariable("topics describe"),
  },
  ({ options, operands, io }) =>
    withAdmin(options, async (admin) => {
      const described = await Promise.all(operands.map((name) => describe(admin, name)));
      if (options.json) {
        printJson(io.stdout, described);
        return EXIT_DONE;
      }
      for (const topic of described) {
        const rows = topic.partitions.map((partition) => [
          partition.partition,
          partition.leader,
          partition.replicas.join(","),
          partition.isr.join(","),
          partition.startOffset,
          partition.endOffset,
        ]);
        const head = ["partition", "leader", "replicas", "in sync", "start offset", "end offset"];
        io.stdout.write(`${topic.name}: ${topic.partitions.length} partitions, id ${topic.topicId}\n`);
        for (const [setting, value] of Object.entries(topic.config)) io.stdout.write(`  ${setting}=${value}\n`);
        io.stdout.write(renderTable(head, rows));
      }
      return EXIT_DONE;
    }),
);

const alterCommand = defineCommand(
  {
    name: "topics alter",
    summary: "Changes settings of topics, and gives them more partitions.",
    examples: [
      { command: "millrace topics alter orders --set retention.ms=86400000", meaning: "keep records for a day" },
      { command: "millrace topics alter orders --unset retention.ms", meaning: "as long as the broker's default" },
      { command: "millrace topics alter orders --partitions 12", meaning: "more partitions; fewer is not possible" },
    ],
    operands: [topicOperand],
    options: topicsAlterOptions,
    sections: [connectionSection],
    variableOf: clientVariable("topics alter"),
  },
  async ({ options, operands, io }) => {
    const changes = {
      ...readSettings(options.set),
      ...Object.fromEntries(options.unset.map((name): [string, null] => [name, null])),
    };
    const hasChanges = Object.keys(changes).length > 0;
    if (!hasChanges && options.partitions === null) {
      throw new UsageError("nothing to change: --set name=value, --unset name or --partitions is missing");
    }
    return withAdmin(options, async (admin) => {
      for (const name of operands) {
        if (hasChanges) await admin.alterConfigs({ type: "topic", name }, changes);
        if (options.partitions !== null) await admin.createPartitions(name, options.partitions);
        io.stdout.write(`${name}: altered\n`);
      }
      return EXIT_DONE;
    });
  },
);

const deleteCommand = defineCommand(
  {
    name: "topics delete",
    summary: "Deletes topics with all their records. There is no way back.",
    examples: [{ command: "millrace topics delete orders", meaning: "the topic and its records are gone" }],
    operands: [topicOperand],
    options: topicsDeleteOptions,
    sections: [connectionSection],
    variableOf: clientVariable("topics delete"),
  },
  ({ options, operands, io }) =>
    withAdmin(options, async (admin) => {
      for (const name of operands) {
        const wasThere = await unlessCode("UNKNOWN_TOPIC_OR_PARTITION", options.ifExists, () =>
          admin.deleteTopics([name]),
        );
        io.stdout.write(`${name}: ${wasThere ? "deleted" : "is not there"}\n`);
      }
      return EXIT_DONE;
    }),
);

export const topicsCommands: CommandGroup = {
  kind: "group",
  name: "topics",
  summary: "The topics of a cluster: any Kafka's, not only Millrace's.",
  examples: [
    { command: "millrace topics create orders --partitions 6", meaning: "a new topic" },
    { command: "millrace topics list", meaning: "all of them" },
  ],
  commands: {
    list: { summary: "list the topics", load: async () => listCommand },
    create: { summary: "create topics", load: async () => createCommand },
    describe: { summary: "show partitions, leaders, offsets and settings", load: async () => describeCommand },
    alter: { summary: "change settings, add partitions", load: async () => alterCommand },
    delete: { summary: "delete topics with their records", load: async () => deleteCommand },
  },
};

async function withAdmin(options: ConnectionOptions, work: (admin: Admin) => Promise<number>): Promise<number> {
  const admin = new Admin(clientConfig(options));
  try {
    return await withClientErrors(options, () => work(admin));
  } finally {
    await admin.close();
  }
}

/** False if the work failed with this code and that is allowed. */
async function unlessCode(code: string, isAllowed: boolean, work: () => Promise<void>): Promise<boolean> {
  try {
    await work();
    return true;
  } catch (error) {
    if (isAllowed && error instanceof KafkaError && error.code === code) return false;
    throw error;
  }
}

async function describe(admin: Admin, name: string) {
  const [topic, configs, earliest, latest] = await Promise.all([
    admin.describeTopic(name),
    describeConfigs(admin, name),
    admin.listOffsets(name, "earliest"),
    admin.listOffsets(name, "latest"),
  ]);
  return {
    name,
    topicId: topic.topicId,
    /** Only what was set for this topic: the rest is the broker's. */
    config: Object.fromEntries(
      configs.filter((entry) => entry.source === "topic").map((entry) => [entry.name, entry.value]),
    ),
    partitions: topic.partitions.map((partition) => ({
      partition: partition.partition,
      leader: partition.leaderId,
      replicas: partition.replicas,
      isr: partition.isr,
      startOffset: Number(earliest.get(partition.partition)?.offset ?? -1n),
      endOffset: Number(latest.get(partition.partition)?.offset ?? -1n),
    })),
  };
}

/** None where the broker cannot tell. */
async function describeConfigs(admin: Admin, name: string): Promise<ConfigEntry[]> {
  try {
    return await admin.describeConfigs({ type: "topic", name });
  } catch (error) {
    if (error instanceof KafkaError && error.code === "UNSUPPORTED_VERSION") return [];
    throw error;
  }
}

/** "retention.ms=1000" → { "retention.ms": "1000" }. */
function readSettings(texts: readonly string[]): Record<string, string> {
  const pairs = texts.map((text): [string, string] => {
    const at = text.indexOf("=");
    if (at < 1) throw new UsageError(`--set is ${text}; it must be name=value, as in --set retention.ms=86400000`);
    return [text.slice(0, at), text.slice(at + 1)];
  });
  return Object.fromEntries(pairs);
}

function printJson(stdout: NodeJS.WriteStream, value: unknown): void {
  stdout.write(`${JSON.stringify(value, null, 2)}\n`);
}
