// Every uber module of fixtures/split on a machine of the classic model, and split on one of the bundle model: enabled
// before and after its targets come, with a target that goes and comes again, replaced by a second version for other
// objects, reversed, disabled, gone. What each function of each target says is the same, and none of it is original code.

import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { runUber, uber } from './split_runs.ts';
import { splitOf } from './split_world.ts';

const NAMES = readdirSync(join(import.meta.dirname, '../../fixtures/split'))
  .flatMap((file) => /^klpsplit_(\w+)\.ko$/.exec(file)?.[1] ?? [])
  .filter((name) => !/^t\d$|^second$|_slow$/.test(name));
/** Which livepatch relocations of the classic model come too late for: another module says there what they should. */
const TOO_LATE = new Set(['key', 'call', 'alternative']);

/** A member for a module that has come again is new, and so is what it does once. */
const once = (lines: readonly string[]): string[] => {
  const warned = new Set<string>();
  return lines.filter((line) => !/ warns$/.test(line) || (!warned.has(line) && warned.add(line)));
};

describe.each(NAMES)('klpsplit_%s', (name) => {
  it.each(['before', 'after'] as const)(
    'does split what it does whole, when targets come %s it',
    async (when) => {
      const classic = await runUber(TOO_LATE.has(name) ? `${name}_slow` : name, 'classic', when);
      const bundle = await runUber(name, 'bundle', when);
      expect(bundle.outputs).toEqual(classic.outputs);
      expect(once(bundle.logged)).toEqual(once(classic.logged));
      expect(bundle.modules).toEqual([]);
      expect(bundle.lateRelocations).toBe(0);
      expect(bundle.originalRuns).toBe(0);
    },
  );
});

describe('the fixtures', () => {
  it('are thirty uber modules and more, of one to five objects', () => {
    const sizes = NAMES.map((name) => splitOf(name, 'fix', uber(name)).members.length);
    expect(NAMES.length).toBeGreaterThanOrEqual(30);
    expect([...new Set(sizes)].sort()).toEqual([1, 2, 3, 4, 5]);
  });
});
