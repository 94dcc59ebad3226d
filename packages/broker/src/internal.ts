/** For the command, for tools that read a data dir, and for tests: no promise is made to anybody else. */

export * from "./index.ts";
export * from "./log/log-manager.ts";
export * from "./log/log-settings.ts";
export * from "./log/partition-log.ts";
export { type TopicSetting, topicSettings } from "./topics/topic-settings.ts";
export type { DataDirReport, PartitionReport, Problem, Severity } from "./verify/report.ts";
export { verifyDataDir } from "./verify/verify-data-dir.ts";
