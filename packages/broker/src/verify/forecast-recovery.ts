/** What the next start of a broker would make of a log: the recovery itself, run on a disk that keeps its changes to itself. */

import { basename } from "node:path";
import { type Clock, type FileSystem, silentLogger } from "@millrace/base";
import { parseSwapFileName } from "../log/compaction.ts";
import { FileHandles } from "../log/file-handles.ts";
import { LOG_SUFFIX, parseOffsetFileName } from "../log/file-names.ts";
import { LeaderEpochs } from "../log/leader-epochs.ts";
import { defaultLogSettings } from "../log/log-settings.ts";
import { PartitionFolder } from "../log/partition-folder.ts";
import { recoverLog } from "../log/recovery.ts";
import { OverlayFileSystem } from "./overlay-file-system.ts";
import type { RecoveryForecast } from "./report.ts";

export interface ForecastParts {
  readonly fileSystem: FileSystem;
  readonly clock: Clock;
  readonly directory: string;
  readonly logStartOffset: bigint;
  readonly recoveryPoint: bigint | null;
  readonly isClean: boolean;
}

/** Rejects as the start would. */
export async function forecastRecovery(parts: ForecastParts): Promise<RecoveryForecast> {
  const { fileSystem, clock, directory, logStartOffset, recoveryPoint, isClean } = parts;
  const sizesBefore = await logSizes(fileSystem, directory);
  const overlay = new OverlayFileSystem(fileSystem);
  const handles = new FileHandles(overlay, 1);
  const folder = new PartitionFolder(overlay, directory, null);
  const { indexIntervalBytes } = defaultLogSettings;
  try {
    const recovered = await recoverLog({
      context: { directory, folder, fileSystem: overlay, handles, logger: silentLogger, indexIntervalBytes },
      clock,
      epochs: new LeaderEpochs(),
      logStartOffset,
      recoveryPoint,
      isCleanStart: isClean && recoveryPoint !== null,
    });
    for (const segment of recovered.segments) await segment.close();
    const { steps, lostBytes } = stepsOf(overlay, sizesBefore, recovered.logEndOffset);
    return {
      startOffset: Number(recovered.logStartOffset),
      endOffset: Number(recovered.logEndOffset),
      lostBytes,
      steps,
    };
  } finally {
    handles.close();
  }
}

async function logSizes(fileSystem: FileSystem, directory: string): Promise<Map<string, number>> {
  const sizes = new Map<string, number>();
  for (const name of await fileSystem.list(directory)) {
    const isLog = parseOffsetFileName(name, LOG_SUFFIX) !== null || parseSwapFileName(name) !== null;
    if (isLog) sizes.set(name, await fileSystem.sizeBytes(`${directory}/${name}`));
  }
  return sizes;
}

/** In words. Indexes and snapshots are left out: they are written anew whenever that helps. */
function stepsOf(overlay: OverlayFileSystem, sizesBefore: ReadonlyMap<string, number>, endOffset: bigint) {
  const swaps = [...sizesBefore.keys()].map(parseSwapFileName).filter((swap) => swap !== null);
  const steps = [...sizesBefore.keys()]
    .filter((name) => parseSwapFileName(name) !== null)
    .map((name) => `puts ${name} in the place of the segments it was made from`);
  let lostBytes = 0;
  for (const { path, sizeBytes } of overlay.changes()) {
    const name = basename(path);
    const baseOffset = parseOffsetFileName(name, LOG_SUFFIX);
    const sizeBefore = sizesBefore.get(name);
    if (baseOffset === null || sizeBefore === undefined) continue;
    if (swaps.some((swap) => baseOffset >= swap.baseOffset && baseOffset < swap.endOffset)) continue;
    if (sizeBytes === null) {
      steps.push(`removes ${name} (${sizeBefore} bytes)`);
      if (baseOffset >= endOffset) lostBytes += sizeBefore;
    } else if (sizeBytes < sizeBefore) {
      steps.push(`cuts ${name} from ${sizeBefore} to ${sizeBytes} bytes`);
      lostBytes += sizeBefore - sizeBytes;
    }
  }
  return { steps, lostBytes };
}
