// How far long work has come, on a terminal.

interface Bar {
  /** `now`: what is under way. */
  update(value: number, now?: object): void;
  increment(): void;
  stop(): void;
}

export interface Output {
  readonly json?: boolean;
  readonly quiet?: boolean;
}

/** A bar of `total` objects; none where output is to be read by a program, for one object, and off a terminal. */
export async function objectsProgress(total: number, output: Output): Promise<Bar | undefined> {
  return total < 2 ? undefined : workProgress('  [{bar}] {value}/{total} objects', total, output);
}

/** The same of any work; `format` is that of cli-progress. */
export async function workProgress(
  format: string,
  total: number,
  { json, quiet }: Output,
): Promise<Bar | undefined> {
  if (!process.stderr.isTTY || json || quiet) return undefined;
  const { default: cliProgress } = await import('cli-progress');
  const settings = { format, stream: process.stderr, clearOnComplete: true, hideCursor: true };
  const bar = new cliProgress.SingleBar(settings, cliProgress.Presets.legacy);
  bar.start(total, 0, { now: '' });
  return bar;
}
