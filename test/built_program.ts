// The program in dist, as these sources have it: what is up to date is not built again, and nobody asks twice in a process.

import { spawnSync } from 'node:child_process';
import { join } from 'node:path';

let isBuilt = false;

export function buildProgram(): void {
  if (isBuilt) return;
  const cwd = join(import.meta.dirname, '..');
  const { status } = spawnSync(process.execPath, ['scripts/run.mjs', 'build', '--no-types'], {
    cwd,
    stdio: 'inherit',
  });
  isBuilt = status === 0;
}
