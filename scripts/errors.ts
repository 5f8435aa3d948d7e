// What a script ends with when it cannot go on: run.mjs prints the message, and exits with the status.

export class ScriptError extends Error {
  override readonly name: string = 'ScriptError';
  readonly code: string = 'ESCRIPT';
  readonly exitStatus: number = 1;
}

/** A wrong call, or a machine on which the script cannot do its work. */
export class ScriptUsageError extends ScriptError {
  override readonly name = 'ScriptUsageError';
  override readonly code = 'EUSAGE';
  override readonly exitStatus = 2;
}

/** What a script needs of its surroundings is not there: an archive, or the right to make namespaces. Not a fault of what it does. */
export class UnavailableError extends ScriptError {
  override readonly name = 'UnavailableError';
  override readonly code = 'EUNAVAILABLE';
}
