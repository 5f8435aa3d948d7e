// Files that several test workers fetch or build: one does, the others wait for it.

import { spawn, spawnSync } from 'node:child_process';
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { transformSync } from 'esbuild';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { ROOT } from '../../scripts/root.ts';
import { oneAtATime } from '../../scripts/setup/one_at_a_time.ts';

/** Appends to a file that it has begun, and, after a while, that it has ended. */
const WORKER = `
  import { appendFileSync } from 'node:fs';
  import { oneAtATime } from './one_at_a_time.mjs';
  oneAtATime('lock', () => {
    appendFileSync('log', 'begins ');
    Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 50);
    appendFileSync('log', 'ends ');
  });
`;

describe('work that several processes do', () => {
  let folder: string;
  beforeEach(() => {
    folder = mkdtempSync(join(tmpdir(), 'klpemu-one-at-a-time-'));
  });
  afterEach(() => rmSync(folder, { recursive: true, force: true }));

  it('is done by one after the other', async () => {
    const source = readFileSync(join(ROOT, 'scripts/setup/one_at_a_time.ts'), 'utf8');
    writeFileSync(join(folder, 'one_at_a_time.mjs'), transformSync(source, { loader: 'ts' }).code);
    writeFileSync(join(folder, 'worker.mjs'), WORKER);
    const statuses = await Promise.all(
      Array.from({ length: 3 }, () => {
        const child = spawn(process.execPath, ['worker.mjs'], { cwd: folder, stdio: 'ignore' });
        return new Promise((resolve) => child.on('close', resolve));
      }),
    );
    expect(statuses).toEqual([0, 0, 0]);
    expect(readFileSync(join(folder, 'log'), 'utf8')).toBe('begins ends '.repeat(3));
  });

  it('is done where whoever held it is gone, and given back where it fails', () => {
    const lock = join(folder, 'lock');
    const { pid } = spawnSync(process.execPath, ['--version']);
    writeFileSync(lock, String(pid));
    expect(oneAtATime(lock, () => readFileSync(lock, 'utf8'))).toBe(String(process.pid));
    expect(() =>
      oneAtATime(lock, () => {
        throw new RangeError('no room');
      }),
    ).toThrow('no room');
    expect(existsSync(lock)).toBe(false);
  });
});
