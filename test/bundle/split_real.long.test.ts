// What klp-build has made for 7.3 (fixtures/split/real) on that kernel: enabled before and after its targets come, whole and as
// the bundle that it is split into, reversed, and unloaded.

import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { X86_64 } from '../../src/arch/x86_64/x86_64.ts';
import { splitUber } from '../../src/bundle/split/split.ts';
import { openKernel } from '../../src/machine/native/cache.ts';
import { vmlinuzOf } from '../vmlinuz/debian_kernels.ts';
import { bundleOfSplit, PORT } from './split_world.ts';
import { SECOND, World } from './world.ts';

const REAL = join(import.meta.dirname, '../../fixtures/split/real');
const bytesOf = (name: string): Uint8Array => new Uint8Array(readFileSync(join(REAL, `${name}.ko`)));
const file = vmlinuzOf('7.3');
const NAME = 'klpreal_build';

interface Told {
  /** What both targets answer before, with and after the patch. */
  readonly before: string;
  readonly reversed: string;
  readonly patched: readonly string[];
  readonly after: readonly string[];
  readonly inits: readonly string[];
  readonly left: readonly string[];
}

async function run(kernel: string, model: 'classic' | 'bundle'): Promise<Told> {
  const w = await World.boot({ model, kernel, instructionNs: 20_000 });
  try {
    const load = (name: string, bytes = bytesOf(name)): void => {
      w.machine.addFile(`/lib/${name}.ko`, bytes);
      const status = w.wait(w.machine.insmod(`/lib/${name}.ko`));
      expect([name, status, status === 0 ? [] : w.machine.dmesg().slice(-8)]).toEqual([name, 0, []]);
    };
    const says = (n: number): string =>
      w
        .cat(`/proc/klpsplit_t${n}`)
        .split('\n')
        .filter((line) => /^[ab] /.test(line))
        .join(' ');
    load('klpsplit_t1');
    const before = says(1);
    const patch = model === 'bundle' ? 'fix' : NAME;
    const { description } = openKernel(kernel, X86_64);
    const bundle = bundleOfSplit(splitUber(bytesOf(NAME), `${NAME}.ko`, 'fix', PORT, description));
    const enable = (): void => {
      if (model === 'bundle')
        expect([w.enable(bundle), w.machine.dmesg().slice(-60)]).toEqual([0, expect.anything()]);
      else load(NAME);
    };
    const disable = (): void => {
      expect(w.write(patch, 'enabled', '0')).toBe(0);
      expect(w.settled()).toBe(true);
      expect(w.freed(patch)).toBe(true);
      w.machine.runFor(2 * SECOND);
      if (model === 'classic') expect(w.wait(w.machine.rmmod(NAME))).toBe(0);
    };
    // Not over yet: it is turned round.
    enable();
    expect(w.machine.inspect.livepatch.transitionPatch).toBeDefined();
    disable();
    const reversed = says(1);
    enable();
    expect(w.settled()).toBe(true);
    load('klpsplit_t2');
    const patched = [says(1), says(2)];
    disable();
    const after = [says(1), says(2)];
    for (const name of ['klpsplit_t2', 'klpsplit_t1']) expect(w.wait(w.machine.rmmod(name))).toBe(0);
    const inits = w.machine
      .dmesg()
      .flatMap((line) => /klpsplit_t\d: (?:init|exit) says .*/.exec(line)?.[0] ?? []);
    return { before, reversed, patched, after, inits, left: w.modules() };
  } finally {
    w.machine.close();
  }
}

describe('a module of klp-build on 7.3', () => {
  it('is loaded, enabled, disabled and unloaded, and does split what it does whole', async (context) => {
    if (!file) return context.skip("the image of Debian's 7.3 is not here and could not be fetched");
    const classic = await run(file, 'classic');
    expect([classic.before, classic.reversed]).toEqual(['a 2 b 12', 'a 2 b 12']);
    expect(classic.patched.map((text) => /^a 10\d\d b 20\d\d$/.test(text))).toEqual([true, true]);
    expect(classic.after).toEqual(['a 2 b 12', 'a 3 b 22']);
    expect(classic.left).toEqual([]);
    expect(await run(file, 'bundle')).toEqual(classic);
  });
});
