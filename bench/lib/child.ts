// A benchmark's parts in processes of their own: the same program again, told by an argument which part it is.

import { spawnSync } from 'node:child_process';

const FLAG = '--part=';

/** Which part this process was started for; undefined in the first one. */
export function wantedPart(): string | undefined {
  return process.argv.find((arg) => arg.startsWith(FLAG))?.slice(FLAG.length);
}

/** Hands the part's result back to the process that asked for it. */
export function answer(result: unknown): void {
  console.log(JSON.stringify(result));
}

/** @throws Error with what the part wrote, when it fails. */
export function askPart<T>(name: string): T {
  const argv = [process.argv[1], `${FLAG}${name}`];
  const { stdout, stderr, status } = spawnSync(process.execPath, argv, { encoding: 'utf8' });
  if (status !== 0) throw new Error(`${name}: ${stderr}`);
  return JSON.parse(stdout) as T;
}
