/** Packages that make things faster where they are installed and have a binary for this machine. */

import { createRequire } from "node:module";

const require = createRequire(import.meta.url);

/**
 * The package, or null where it is missing or does not load. Exports is what its documentation says it has: no compiler can check that here.
 */
export function loadOptionalPackage<Exports>(name: string): Exports | null {
  try {
    return require(name);
  } catch {
    return null;
  }
}
