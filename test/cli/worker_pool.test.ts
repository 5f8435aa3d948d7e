// A thread that dies or hangs over one job: the others get their results all the same.

import { existsSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, afterEach, expect, it, vi } from 'vitest';
import { runPool } from '../../src/cli/worker_pool.ts';

const dir = mkdtempSync(join(tmpdir(), 'klpemu-pool-'));
afterAll(() => rmSync(dir, { recursive: true }));
afterEach(() => vi.useRealTimers());
const program = join(dir, 'worker.mjs');
writeFileSync(
  program,
  `import { writeFileSync } from 'node:fs';
  import { parentPort } from 'node:worker_threads';
  parentPort.on('message', (job) => {
    if (job === 'throws') throw new Error('no good');
    if (job === 'exits') process.exit(3);
    if (job === 'hangs') { writeFileSync(${JSON.stringify(join(dir, 'hanging'))}, ''); for (;;); }
    parentPort.postMessage(job.toUpperCase());
  });`,
);

it.each([1, 2])('every job has a result, with %i threads', async (threads) => {
  // The clock of the time limit goes when that job hangs and no other runs: no computer is too slow for those.
  vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout'] });
  const watch = setInterval(() => {
    const others = threads === 1 || Object.keys(results).length === 6;
    if (!others || !existsSync(join(dir, 'hanging'))) return;
    rmSync(join(dir, 'hanging'));
    vi.advanceTimersByTime(2000);
  }, 10);
  const results: Record<string, string> = {};
  await runPool<string, string>({
    program,
    threads,
    jobs: ['one', 'throws', 'two', 'exits', 'three', 'hangs', 'four'],
    timeoutMs: 2000,
    failed: (_, why) => why,
    done: (job, result) => {
      results[job] = result;
    },
  });
  clearInterval(watch);
  expect(results).toEqual({
    one: 'ONE',
    two: 'TWO',
    three: 'THREE',
    four: 'FOUR',
    throws: 'the thread ended: no good',
    exits: 'the thread ended',
    hangs: 'took more than 2 s',
  });
});
