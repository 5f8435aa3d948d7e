// Each module of fixtures/split as a bundle: its members are as sound as the module, and leave nothing that it does not.

import { readdirSync } from 'node:fs';
import { beforeAll, describe, expect, it } from 'vitest';
import { X86_64 } from '../../src/arch/x86_64/x86_64.ts';
import { ModuleLibrary } from '../../src/vet/module_library.ts';
import { Vet } from '../../src/vet/vet.ts';
import { FIXTURES, splitOf, told, uberOf } from './splits.ts';

const PATCHES = readdirSync(FIXTURES).flatMap((file) => /^klpsplit_(?!t\d)(\w+)\.ko$/.exec(file)?.[1] ?? []);
/** Functions of theirs make a shadow variable that nobody frees. */
const LEAKS = /^\d+ bytes|__klp_shadow_get_or_alloc 52 bytes: 0 before, 1 now/;
/** Behind what is against it; and of a patch with hundreds of functions. */
const LEFT_OUT = /^not tried after that|not tried: more than the first \d+, which left nothing behind/;
/** What livepatch resolves too late for the kernel's own tools, and in time in a member. */
const NOT_WHOLE = new Set(['alternative', 'call', 'key']);

describe('the members of a split', () => {
  let vet: Vet;
  beforeAll(async () => {
    const modules = new ModuleLibrary(X86_64.elf, FIXTURES);
    vet = await Vet.of(X86_64, { kernel: '', modules, olds: [], vmlinuxOnly: false, tell: () => {} });
  });

  it.each(PATCHES)('%s have nothing against them that the whole module has not', async (name) => {
    const report = await vet.vet(splitOf(name).bundle);
    const bad = told(report, 'bad');
    expect(told(report, 'not seen').filter((one) => !LEFT_OUT.test(one))).toEqual([]);
    if (!NOT_WHOLE.has(name)) {
      const whole = await vet.vet({ path: `${name}.ko`, bytes: uberOf(name) });
      expect(bad.filter((one) => !told(whole, 'bad').includes(one))).toEqual([]);
    }
    for (const one of bad) expect(one.split('\n').slice(1).join('\n')).toMatch(LEAKS);
  });
});
