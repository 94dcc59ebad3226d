/** How a command ends when it does not end well: an error that is one line for a person, and an exit code. */

export const EXIT_DONE = 0;
export const EXIT_FAILED = 1;
export const EXIT_USAGE = 2;

/** The world said no. The message is one line, and says what to do. */
export class CommandError extends Error {
  override readonly name: string = "CommandError";
  readonly exitCode: number = EXIT_FAILED;
}

/** The command was called wrongly: an unknown flag, a value that will not do. */
export class UsageError extends CommandError {
  override readonly name = "UsageError";
  override readonly exitCode = EXIT_USAGE;
}
