/** Checks a whole data dir while no broker uses it: all partitions, and the files that all of them share. */

import { join } from "node:path";
import { type Clock, type FileSystem, hasCode, type Random, silentLogger } from "@millrace/base";
import { compressionTypes, KafkaError, loadCodec } from "@millrace/protocol";
import { ACLS_FILE, CLEAN_FILE, type Meta, QUOTAS_FILE, readMeta, TOPICS_FILE } from "../data-dir.ts";
import { lockDataDir, unlockDataDir } from "../data-dir-lock.ts";
import { parseOffset, readCheckpoint, readText } from "../log/checkpoint-file.ts";
import {
  BROKER_EPOCH_FILE,
  CLEANED_FILE,
  LOG_START_FILE,
  parsePartitionDirectoryName,
  partitionDirectoryName,
  RECOVERY_POINT_FILE,
} from "../log/file-names.ts";
import { PRODUCER_IDS_FILE, readNextProducerId } from "../producer-ids.ts";
import { readQuota } from "../quotas/client-quota.ts";
import { readAcl } from "../security/acl.ts";
import { StoredList } from "../stored-list.ts";
import { DELETED_FOLDER } from "../topics/partition-folders.ts";
import { readTopics, type TopicRecord } from "../topics/topic-records.ts";
import { type DataDirReport, type PartitionReport, Problems } from "./report.ts";
import { verifyPartition } from "./verify-partition.ts";

export interface VerifyOptions {
  readonly dataDir: string;
  readonly fileSystem: FileSystem;
  readonly clock: Clock;
  readonly random: Random;
  readonly processId: number;
  /** Whether records are decompressed and decoded too, which takes many times as long. */
  readonly checksRecords: boolean;
  /** Called after each partition. */
  onPartition?(report: PartitionReport, partitionCount: number): void;
}

/**
 * Reads every byte of the logs and changes nothing. Meanwhile the folder is locked: no broker can start on it.
 *
 * Rejects with KAFKA_STORAGE_ERROR for a folder that is no data dir, of another format, or in use by a broker; what is
 * wrong inside is in the report.
 */
export async function verifyDataDir(options: VerifyOptions): Promise<DataDirReport> {
  const { dataDir, fileSystem } = options;
  const meta = await expectMeta(fileSystem, dataDir);
  if (options.checksRecords) await Promise.all(compressionTypes.map(loadCodec));
  const isLocked = await tryLock(options);
  try {
    return await new DataDirVerifier(options).verify(meta);
  } finally {
    if (isLocked) await unlockDataDir({ path: dataDir, fileSystem });
  }
}

async function expectMeta(fileSystem: FileSystem, dataDir: string): Promise<Meta> {
  const meta = (await fileSystem.exists(dataDir)) ? await readMeta(fileSystem, dataDir) : null;
  if (meta !== null) return meta;
  throw new KafkaError("KAFKA_STORAGE_ERROR", `${dataDir} is no data dir: there is no meta.json in it`);
}

/** False where nothing can be written, a backup that is mounted read-only: no broker can start there either. */
async function tryLock({ dataDir, fileSystem, clock, random, processId }: VerifyOptions): Promise<boolean> {
  const wayOut = "stop it first: the files of a broker that runs change while they are read";
  try {
    await lockDataDir({ path: dataDir, fileSystem, clock, random, logger: silentLogger, processId, wayOut });
    return true;
  } catch (error) {
    if (["EROFS", "EACCES", "EPERM"].some((code) => hasCode(error, code))) return false;
    throw error;
  }
}

class DataDirVerifier {
  readonly #options: VerifyOptions;
  readonly #problems = new Problems();
  #highestProducerId = -1n;

  constructor(options: VerifyOptions) {
    this.#options = options;
  }

  async verify({ formatVersion, clusterId }: Meta): Promise<DataDirReport> {
    const { dataDir, fileSystem } = this.#options;
    const names = (await fileSystem.list(dataDir)).sort();
    const isClean = names.includes(CLEAN_FILE);
    const topics = await this.#readTopics();
    await this.#checkBrokerEpoch(isClean);
    await this.#tryReading(ACLS_FILE, (path) => StoredList.open({ fileSystem, path, read: readAcl }));
    await this.#tryReading(QUOTAS_FILE, (path) => StoredList.open({ fileSystem, path, read: readQuota }));
    this.#noteDeletions(names);
    const partitions = await this.#verifyPartitions(names, topics, isClean);
    await this.#checkProducerIds();
    return {
      dataDir,
      formatVersion,
      clusterId,
      isClean,
      isSound: this.#problems.isSound && partitions.every((partition) => partition.isSound),
      problems: this.#problems.list,
      partitions,
    };
  }

  /** Null: the file is damaged, and nobody knows which topics there are. */
  async #readTopics(): Promise<ReadonlyMap<string, TopicRecord> | null> {
    const records = await this.#tryReading(TOPICS_FILE, (path) => readTopics(this.#options.fileSystem, path));
    return records && new Map(records.map((record) => [record.name, record]));
  }

  /** Null: it is damaged, which has been told. */
  async #tryReading<T>(name: string, read: (path: string) => Promise<T>): Promise<T | null> {
    try {
      return await read(join(this.#options.dataDir, name));
    } catch (error) {
      if (!(error instanceof KafkaError)) throw error;
      this.#problems.add("damage", name, null, error.message, "no broker starts; take the file from a backup");
      return null;
    }
  }

  async #checkBrokerEpoch(isClean: boolean): Promise<void> {
    const text = await readText(this.#options.fileSystem, join(this.#options.dataDir, BROKER_EPOCH_FILE));
    if (text === null ? !isClean : /^\d+\n$/.test(text)) return;
    const what = `expected a number, how often a broker was started here; found ${text === null ? "no file" : JSON.stringify(text)}`;
    const consequence = "the next start counts from 0; each log goes on with the epochs of its own batches";
    this.#problems.add("repairable", BROKER_EPOCH_FILE, null, what, consequence);
  }

  #noteDeletions(names: readonly string[]): void {
    for (const name of names.filter((each) => DELETED_FOLDER.test(each))) {
      const what = "the deletion of a topic was not finished";
      this.#problems.add("note", name, null, what, "the next start finishes it");
    }
  }

  async #verifyPartitions(
    names: readonly string[],
    topics: ReadonlyMap<string, TopicRecord> | null,
    isClean: boolean,
  ): Promise<PartitionReport[]> {
    const recoveryPoints = await this.#readOffsets(
      RECOVERY_POINT_FILE,
      "the next start reads all batches, which takes longer",
    );
    const logStarts = await this.#readOffsets(LOG_START_FILE, "records that were deleted may come back");
    const cleaned = await this.#readOffsets(CLEANED_FILE, "logs are compacted from their start on, which takes longer");
    const folders = partitionsOf(names, topics);
    const reports: PartitionReport[] = [];
    for (const { topic, partition } of folders) {
      const name = partitionDirectoryName(topic, partition);
      const record = topics?.get(topic);
      const cleanedOffset = cleaned.get(name) ?? 0n;
      const report = await verifyPartition({
        fileSystem: this.#options.fileSystem,
        clock: this.#options.clock,
        dataDir: this.#options.dataDir,
        topic,
        partition,
        topicId: record !== undefined && partition < record.partitions ? record.id : null,
        isCompacted: record?.config["cleanup.policy"]?.includes("compact") === true,
        isClean,
        recoveryPoint: recoveryPoints.get(name) ?? null,
        logStartOffset: logStarts.get(name) ?? 0n,
        cleanedOffset,
        checksRecords: this.#options.checksRecords,
        onProducerId: (producerId) => {
          if (producerId > this.#highestProducerId) this.#highestProducerId = producerId;
        },
      });
      reports.push(report);
      this.#options.onPartition?.(report, folders.length);
    }
    return reports.sort((a, b) => (a.topic === b.topic ? a.partition - b.partition : a.topic < b.topic ? -1 : 1));
  }

  /** One of the files that have an offset for each partition, by the name of the partition's folder. */
  async #readOffsets(file: string, consequence: string): Promise<Map<string, bigint>> {
    const { dataDir, fileSystem } = this.#options;
    const offsets = new Map<string, bigint>();
    const path = join(dataDir, file);
    const lines = await readCheckpoint(fileSystem, path);
    if (lines === null && (await fileSystem.exists(path))) {
      const what = "it is no list of topics, partitions and offsets";
      this.#problems.add("repairable", file, null, what, consequence);
    }
    for (const [topic = "", partition = "", offsetWord] of lines ?? []) {
      const name = `${topic}-${partition}`;
      const offset = parseOffset(offsetWord);
      if (offset === null || parsePartitionDirectoryName(name) === null) {
        const what = `expected a topic, a partition and an offset; found ${[topic, partition, offsetWord].join(" ")}`;
        this.#problems.add("repairable", file, null, what, consequence);
      } else offsets.set(name, offset);
    }
    return offsets;
  }

  async #checkProducerIds(): Promise<void> {
    const next = await this.#tryReading(PRODUCER_IDS_FILE, (path) =>
      readNextProducerId(this.#options.fileSystem, path),
    );
    if (next === null || this.#highestProducerId < next) return;
    this.#problems.add(
      "damage",
      PRODUCER_IDS_FILE,
      null,
      `the next producer id is ${next}; the logs hold batches of producer ${this.#highestProducerId}`,
      "an id that is in use may be given out again, and its new owner's records be taken for retries",
    );
  }
}

/** All that have a folder, and those that have none because nothing was written to them yet. */
function partitionsOf(names: readonly string[], topics: ReadonlyMap<string, TopicRecord> | null) {
  const found = names.map(parsePartitionDirectoryName).filter((partition) => partition !== null);
  const present = new Set(names);
  const missing = [...(topics?.values() ?? [])].flatMap(({ name: topic, partitions }) =>
    Array.from({ length: partitions }, (_, partition) => ({ topic, partition })).filter(
      ({ partition }) => !present.has(partitionDirectoryName(topic, partition)),
    ),
  );
  return [...found, ...missing];
}
