// A thread that dies or hangs over one job: the others get their results all the same.

import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, expect, it } from 'vitest';
import { runPool } from '../../src/cli/worker_pool.ts';

const dir = mkdtempSync(join(tmpdir(), 'klpemu-pool-'));
afterAll(() => rmSync(dir, { recursive: true }));
const program = join(dir, 'worker.mjs');
writeFileSync(
  program,
  `import { parentPort } from 'node:worker_threads';
  parentPort.on('message', (job) => {
    if (job === 'throws') throw new Error('no good');
    if (job === 'exits') process.exit(3);
    if (job === 'hangs') for (;;);
    parentPort.postMessage(job.toUpperCase());
  });`,
);

it.each([1, 2])('every job has a result, with %i threads', async (threads) => {
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
