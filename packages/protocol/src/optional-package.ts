/** Packages that make things faster where they are installed and have a binary for this machine. */

import { createRequire } from "node:module";

const require = createRequire(import.meta.url);

/**
 * A function that gives the package, or null where it is missing or does not load. It is looked for at the first call.
 *
 * Exports: what the package's documentation says it has; no compiler can check that here.
 */
export function optionalPackage<Exports>(name: string): () => Exports | null {
  let loaded: Exports | null | undefined;
  return () => {
    if (loaded === undefined) loaded = load<Exports>(name);
    return loaded;
  };
}

function load<Exports>(name: string): Exports | null {
  try {
    return require(name);
  } catch {
    return null;
  }
}
