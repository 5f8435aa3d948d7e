// How far a command that goes through many objects has come, on a terminal.

interface Bar {
  increment(): void;
  stop(): void;
}

/** A bar of `total` objects; none where output is to be read by a program, for one object, and off a terminal. */
export async function objectsProgress(
  total: number,
  { json, quiet }: { readonly json?: boolean; readonly quiet?: boolean },
): Promise<Bar | undefined> {
  if (!process.stderr.isTTY || total < 2 || json || quiet) return undefined;
  const { default: cliProgress } = await import('cli-progress');
  const format = '  [{bar}] {value}/{total} objects';
  const settings = { format, stream: process.stderr, clearOnComplete: true, hideCursor: true };
  const bar = new cliProgress.SingleBar(settings, cliProgress.Presets.legacy);
  bar.start(total, 0);
  return bar;
}
