/** What a command is: the options and operands it takes, what its help says, and how it is run. */

import type { OptionEntries, OptionTable } from "@millrace/base";

/** Where a command reads and writes; the process's own, or a test's. */
export interface Io {
  readonly stdin: NodeJS.ReadStream;
  readonly stdout: NodeJS.WriteStream;
  readonly stderr: NodeJS.WriteStream;
  readonly environment: Readonly<Record<string, string | undefined>>;
}

export interface Example {
  readonly command: string;
  readonly meaning: string;
}

/** A word without dashes: TOPIC, FILE…. */
export interface Operand {
  readonly name: string;
  readonly doc: string;
  readonly isOptional?: boolean;
  /** Takes all words that are left. Only the last operand may. */
  readonly isMany?: boolean;
}

/** A heading in the help, and the names of the options under it. */
export interface OptionSection {
  readonly title: string;
  readonly options: readonly string[];
}

export interface CommandSpec<E extends OptionEntries = OptionEntries> {
  /** As it is typed after `millrace`: "topics create". */
  readonly name: string;
  readonly summary: string;
  readonly examples: readonly Example[];
  readonly operands: readonly Operand[];
  readonly options: OptionTable<E>;
  /** Options in no section come first, under "Options". */
  readonly sections?: readonly OptionSection[];
  /** Paragraphs below the options. */
  readonly notes?: readonly string[];
  /** The name of an option's environment variable. */
  variableOf(option: string): string;
}

/** A command whose option types are known to itself only. */
export interface Command {
  readonly kind: "command";
  readonly spec: CommandSpec;
  /** Resolves with the exit code. Throws CommandError. */
  run(words: readonly string[], io: Io): Promise<number>;
}

/** Commands under one name: `millrace topics`, and `millrace` itself. */
export interface CommandGroup {
  readonly kind: "group";
  readonly name: string;
  readonly summary: string;
  readonly examples: readonly Example[];
  readonly commands: Readonly<Record<string, CommandEntry>>;
  readonly notes?: readonly string[];
}

/** What is known of a command before its module is loaded, which is what start-up time is made of. */
export interface CommandEntry {
  readonly summary: string;
  load(): Promise<Command | CommandGroup>;
}
