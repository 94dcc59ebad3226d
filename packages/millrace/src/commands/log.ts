/** `millrace log`: looks after the files of a data dir that no broker is using. */

import { formatBytes, nodeFileSystem, systemClock, systemRandom } from "@millrace/base";
import {
  type DataDirReport,
  type PartitionReport,
  type Problem,
  type Severity,
  verifyDataDir,
} from "@millrace/broker/internal";
import { KafkaError } from "@millrace/client";
import { ownVariable } from "../command/arguments.ts";
import { defineCommand } from "../command/define-command.ts";
import { CommandError, EXIT_DONE, EXIT_FAILED } from "../command/errors.ts";
import type { CommandGroup, Io } from "../command/spec.ts";
import { logVerifyOptions } from "../options/log.ts";
import { formatCount, Progress } from "../terminal/progress.ts";
import { renderTable } from "../terminal/table.ts";

const verifyCommand = defineCommand(
  {
    name: "log verify",
    summary:
      "Reads a whole data dir and tells whether it is sound: every record batch, the indexes and producer snapshots against the batches, the checkpoint files, and what the next start of a broker would do. It changes nothing.",
    examples: [
      { command: "millrace log verify ./millrace-data", meaning: "a line per partition, then what is wrong" },
      { command: "millrace log verify --records ./millrace-data", meaning: "each record of each batch too" },
      { command: "millrace log verify --json ./millrace-data", meaning: "the same for programs" },
    ],
    operands: [
      { name: "DIR", doc: "The data dir. No broker may be using it, and none can start on it during the check." },
    ],
    options: logVerifyOptions,
    notes: [
      "damage: records are gone or cannot be read. repairable: the next start puts it right without a loss. note: nothing is wrong.",
      "Exit codes: 0 all is sound, 1 something is wrong or the folder cannot be checked, 2 called wrongly.",
    ],
    variableOf: (option) => ownVariable("log verify", option),
  },
  async ({ options, operands: [dataDir = ""], io }) => {
    const report = await verify(dataDir, options.records, io);
    io.stdout.write(options.json ? `${JSON.stringify(report)}\n` : render(report));
    return report.isSound ? EXIT_DONE : EXIT_FAILED;
  },
);

async function verify(dataDir: string, checksRecords: boolean, io: Io): Promise<DataDirReport> {
  let done = { partitions: 0, recordCount: 0, sizeBytes: 0, fraction: 0 };
  const progress = new Progress(io.stderr, dataDir, false, () => done);
  try {
    return await verifyDataDir({
      dataDir,
      fileSystem: nodeFileSystem,
      clock: systemClock,
      random: systemRandom,
      processId: process.pid,
      checksRecords,
      onPartition: ({ records, sizeBytes }, partitionCount) => {
        const partitions = done.partitions + 1;
        done = {
          partitions,
          recordCount: done.recordCount + records,
          sizeBytes: done.sizeBytes + sizeBytes,
          fraction: partitions / partitionCount,
        };
      },
    });
  } catch (error) {
    if (error instanceof KafkaError) throw new CommandError(error.message, { cause: error });
    if (error instanceof Error && "code" in error) {
      throw new CommandError(`cannot read ${dataDir}: ${error.message}`, { cause: error });
    }
    throw error;
  } finally {
    progress.close();
  }
}

function render(report: DataDirReport): string {
  const { partitions } = report;
  const problems = [...report.problems, ...partitions.flatMap((partition) => partition.problems)];
  return [
    partitions.length === 0 ? "no partitions\n" : renderTable(HEAD, partitions.map(rowOf)),
    ...problems.map(renderProblem),
    ...partitions.map(renderLeftOut),
    ...partitions.map(renderRecovery),
    renderVerdict(report, problems),
  ].join("");
}

const HEAD = ["topic", "partition", "segments", "batches", "records", "bytes", "start offset", "end offset", "state"];

function rowOf(partition: PartitionReport) {
  const { topic, segments, batches, records, sizeBytes, startOffset, endOffset } = partition;
  return [
    topic,
    partition.partition,
    segments,
    batches,
    records,
    sizeBytes,
    startOffset,
    endOffset,
    stateOf(partition),
  ];
}

const WORST_FIRST: readonly Severity[] = ["damage", "repairable"];

function stateOf({ problems, isSound }: PartitionReport): string {
  const worst = WORST_FIRST.find((severity) => problems.some((problem) => problem.severity === severity));
  return worst ?? (isSound ? "ok" : "damage");
}

function renderProblem({ severity, file, position, what, consequence }: Problem): string {
  const where = position === null ? file : `${file} at byte ${position}`;
  return `\n${severity}: ${where}\n  ${what};\n  ${consequence}\n`;
}

function renderLeftOut({ topic, partition, problemsLeftOut }: PartitionReport): string {
  return problemsLeftOut === 0 ? "" : `\n${topic}-${partition}: ${formatCount(problemsLeftOut)} more of the kind\n`;
}

function renderRecovery({ topic, partition, recovery }: PartitionReport): string {
  if (recovery.steps.length === 0) return "";
  const { startOffset, endOffset, lostBytes, steps } = recovery;
  const loss = lostBytes === 0 ? "no bytes go" : `${formatCount(lostBytes)} bytes go`;
  const lines = steps.map((step) => `  ${step}\n`).join("");
  return `\nthe next start of a broker leaves ${topic}-${partition} with offsets ${startOffset} to ${endOffset}; ${loss}:\n${lines}`;
}

function renderVerdict({ isSound, isClean, partitions }: DataDirReport, problems: readonly Problem[]): string {
  const sum = (count: (partition: PartitionReport) => number) => partitions.reduce((all, each) => all + count(each), 0);
  const seen = `${count(partitions.length, "partition")}, ${count(
    sum(({ segments }) => segments),
    "segment",
  )}, ${formatCount(sum(({ batches }) => batches))} batches, ${formatBytes(sum(({ sizeBytes }) => sizeBytes))}`;
  const end = isClean ? "closed in order" : "not closed in order: the next start checks what was written last";
  const wrongCount =
    problems.filter(({ severity }) => severity !== "note").length + sum(({ problemsLeftOut }) => problemsLeftOut);
  return `\n${isSound ? "sound" : `NOT sound (${count(wrongCount, "problem")})`}: ${seen}; ${end}\n`;
}

function count(number: number, noun: string): string {
  return `${formatCount(number)} ${noun}${number === 1 ? "" : "s"}`;
}

export const logCommands: CommandGroup = {
  kind: "group",
  name: "log",
  summary: "The files of a data dir, while no broker uses it.",
  examples: [{ command: "millrace log verify ./millrace-data", meaning: "is all of it sound?" }],
  commands: {
    verify: { summary: "check every batch, index and checkpoint of a data dir", load: async () => verifyCommand },
  },
};
