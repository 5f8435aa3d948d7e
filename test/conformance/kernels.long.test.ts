// The selftests of later kernels on their own images, where they have been fetched already: npm run conformance -- --kernel
// VERSION does that.

import { spawnSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';

const ROOT = join(import.meta.dirname, '../..');
const TESTS: Readonly<Record<string, number>> = { '6.1': 22, '6.12': 25, '7.3': 32 };

describe.each(Object.entries(TESTS))(
  "the livepatch selftests of %s on that kernel's image",
  (version, count) => {
    const isBuilt = existsSync(join(ROOT, '.cache/conformance', version, '.built'));

    it.skipIf(!isBuilt)(
      `all pass${isBuilt ? '' : ' (not here: npm run conformance -- --kernel fetches them)'}`,
      () => {
        const options = ['scripts/run.mjs', 'conformance', '--kernel', version];
        const { status, stdout } = spawnSync(process.execPath, options, { cwd: ROOT, encoding: 'utf8' });
        expect(stdout).toMatch(new RegExp(`^${count} of ${count} tests passed in `, 'm'));
        expect(stdout.match(/^ {2}ok /gm)).toHaveLength(count);
        expect(status).toBe(0);
      },
    );
  },
);
