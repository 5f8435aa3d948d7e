// The members of the uber modules of the fixtures: size and SHA-256 (its beginning) of each file, and of what is told of it, as
// they were when they were last run (split_fixtures.long.test.ts, split_real.long.test.ts). A change of what is split is seen here:
// whoever means it looks at the members, and runs those tests. `npx vitest run test/bundle/split_members.test.ts -u` writes them anew.

import { createHash } from 'node:crypto';
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { SplitRefused } from '../../src/bundle/split/split.ts';
import { splitOf } from './split_world.ts';

const SPLIT = join(import.meta.dirname, '../../fixtures/split');
/** Targets are no livepatches; the largest is a matter of seconds. */
const NOT = /^klpsplit_(t\d|many)\.ko$/;

const files = [SPLIT, join(SPLIT, 'real')].flatMap((dir) =>
  readdirSync(dir)
    .filter((file) => file.endsWith('.ko') && !NOT.test(file))
    .sort()
    .map((file) => [file.replace(/\.ko$/, ''), join(dir, file)] as const),
);

const digest = (bytes: Uint8Array | string): string =>
  createHash('sha256').update(bytes).digest('hex').slice(0, 12);

function membersOf(name: string, bytes: Uint8Array): string[] {
  try {
    const { members, left, shared, replace } = splitOf(name, 'fix', bytes);
    return [
      `${name}${replace ? ', replacing' : ''}: ${left.length} left, ${shared.length} shared (${digest(JSON.stringify([left, shared]))})`,
      ...members.map(
        ({ file, bytes: own, object, ...told }) =>
          `  ${file} for ${object}: ${own.length} bytes, ${digest(own)}, told as ${digest(JSON.stringify(told))}`,
      ),
    ];
  } catch (error) {
    if (error instanceof SplitRefused)
      return [`${name} is not split`, ...error.reasons.map((reason) => `  ${reason}`)];
    throw error;
  }
}

describe('the members of a fixture', () => {
  it('are what they were', async () => {
    const lines = files.flatMap(([name, path]) => membersOf(name, new Uint8Array(readFileSync(path))));
    await expect(`${lines.join('\n')}\n`).toMatchFileSnapshot('split_members.txt');
  });
});
