/** Makes a command of its description and its work: reads the words, answers `--help`, and runs. */

import type { OptionEntries, OptionsOf } from "@millrace/base";
import { readArguments } from "./arguments.ts";
import { EXIT_DONE } from "./errors.ts";
import { renderHelp } from "./help.ts";
import type { Command, CommandSpec, Io } from "./spec.ts";

export function defineCommand<const E extends OptionEntries>(
  spec: CommandSpec<E>,
  run: (invocation: Invocation<E>) => Promise<number>,
): Command {
  return {
    kind: "command",
    spec,
    async run(words, io) {
      const { wantsHelp, options, operands } = readArguments(spec, words, io.environment);
      if (wantsHelp) {
        io.stdout.write(renderHelp(spec, io.stdout.columns));
        return EXIT_DONE;
      }
      return run({ options: options(), operands, io });
    },
  };
}

export interface Invocation<E extends OptionEntries> {
  readonly options: OptionsOf<E>;
  readonly operands: readonly string[];
  readonly io: Io;
}
