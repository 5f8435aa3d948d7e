// The kernel's own selftests, where their sources have been fetched already: npm run conformance does that.

import { spawnSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { buildProgram } from '../built_program.ts';

const ROOT = join(import.meta.dirname, '../..');

const isBuilt = existsSync(join(ROOT, '.cache/conformance/.built'));

describe("the kernel's livepatch selftests", () => {
  it.skipIf(!isBuilt)(`all pass${isBuilt ? '' : ' (not here: npm run conformance fetches them)'}`, () => {
    buildProgram();
    const { status, stdout } = spawnSync(process.execPath, ['scripts/run.mjs', 'conformance'], {
      cwd: ROOT,
      encoding: 'utf8',
    });
    expect(stdout).toMatch(/^22 of 22 tests passed in /m);
    expect(stdout.match(/^ {2}ok /gm)).toHaveLength(22);
    expect(status).toBe(0);
  });
});
