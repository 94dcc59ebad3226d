/** Units and branded numbers: what must not be mixed has a type of its own. */

export const KIBIBYTE = 1024;
export const MEBIBYTE = 1024 * 1024;
export const GIBIBYTE = 1024 * 1024 * 1024;

export const SECOND_MS = 1000;
export const MINUTE_MS = 60 * SECOND_MS;
export const HOUR_MS = 60 * MINUTE_MS;
export const DAY_MS = 24 * HOUR_MS;

/** "1.5 MiB", "312 B": for messages that people read. */
export function formatBytes(sizeBytes: number): string {
  if (sizeBytes < KIBIBYTE) return `${sizeBytes} B`;
  if (sizeBytes < MEBIBYTE) return `${(sizeBytes / KIBIBYTE).toFixed(1)} KiB`;
  if (sizeBytes < GIBIBYTE) return `${(sizeBytes / MEBIBYTE).toFixed(1)} MiB`;
  return `${(sizeBytes / GIBIBYTE).toFixed(2)} GiB`;
}
