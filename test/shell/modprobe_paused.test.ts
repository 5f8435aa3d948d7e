// depmod's modules.klp, and a modprobe that does what the kernel does otherwise: docs/bundle.md, "Paused from user
// space".

import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, describe, expect, it, vi } from 'vitest';
import { X86_64 } from '../../src/arch/x86_64/x86_64.ts';
import { createBundle } from '../../src/bundle/format.ts';
import type { Machine } from '../../src/machine/machine.ts';
import { rest } from '../bundle/state.ts';
import { bundleOf, ko, World } from '../bundle/world.ts';
import { Session } from './session.ts';

const DIR = '/lib/modules/6.1.0-56-amd64';
const TARGETS = ['klpbundle_core', 'klpbundle_mid', 'klpbundle_top', 'klpbundle_asker'];
const PATCHES = ['p1_vmlinux', 'p1_core', 'p1_mid', 'p1_top', 'p2_core', 'p2_top', 'p1_asker'];

let session: Session;
const sh = (line: string): Promise<string> => session.sh(line);
const fixture = (name: string): Uint8Array =>
  new Uint8Array(readFileSync(join(import.meta.dirname, `../../fixtures/bundles/${name}.klpb`)));

async function machine(bundles: Record<string, Uint8Array>, patches = PATCHES): Promise<void> {
  session = await Session.boot([...TARGETS, ...patches.map((name) => `klpbundle_${name}`)], {
    model: 'bundle',
  });
  for (const [name, bytes] of Object.entries(bundles))
    session.machine.addFile(`${DIR}/extra/${name}.klpb`, bytes);
}

/** Modules in the order in which they come to life, from here on. */
function lives(machine: Machine): string[] {
  const seen: string[] = [];
  machine.events.subscribe((e) => {
    if (e.type === 'module' && e.state === 'LIVE') seen.push(e.name);
  });
  return seen;
}

afterEach(() => session.machine.close());

describe('depmod', () => {
  it('writes modules.klp: for each object the patch modules of each bundle', async () => {
    await machine({ v1: fixture('v1'), v2: fixture('v2') });
    expect(await sh(`depmod; cat ${DIR}/modules.klp`)).toBe(
      [
        'klpbundle_core: steps_v1=extra/klpbundle_p1_core.ko steps_v2=extra/klpbundle_p2_core.ko',
        'klpbundle_mid: steps_v1=extra/klpbundle_p1_mid.ko',
        'klpbundle_top: steps_v1=extra/klpbundle_p1_top.ko steps_v2=extra/klpbundle_p2_top.ko',
        'klpbundle_asker: steps_v2=extra/klpbundle_p1_asker.ko',
        '',
      ].join('\n'),
    );
  });

  it('writes an empty one where there are no bundles', async () => {
    await machine({});
    expect(await sh(`depmod; wc -c ${DIR}/modules.klp`)).toMatch(/^0 /);
  });

  it('warns of members that are not there, of bundles it cannot read, and of two of one name', async () => {
    const v1 = bundleOf('v1', ['p1_core', 'p1_mid']);
    await machine({ v1, v1_again: v1, bad_tar: fixture('bad_tar') }, ['p1_core']);
    expect(await sh('depmod')).toBe(
      [
        `depmod: ERROR: ${DIR}/extra/bad_tar.klpb: the tar is cut short in klpbundle_p1_core.ko`,
        `depmod: WARNING: ${DIR}/extra/v1.klpb: member klpbundle_p1_mid.ko is not here as a module`,
        `depmod: WARNING: ${DIR}/extra/v1_again.klpb: bundle 'v1' is in ${DIR}/extra/v1.klpb already`,
        '',
      ].join('\n'),
    );
    expect(await sh(`cat ${DIR}/modules.klp`)).toBe('klpbundle_core: v1=extra/klpbundle_p1_core.ko\n');
  });

  it('does not take a file that only has the name of a member', async () => {
    const other = new Uint8Array([...ko('p1_core'), 0]);
    const v1 = createBundle(
      {
        name: 'v1',
        version: '1',
        replace: false,
        files: [{ file: 'klpbundle_p1_core.ko', bytes: other }],
        targets: new Map(),
      },
      X86_64.elf,
    );
    await machine({ v1 }, ['p1_core']);
    expect(await sh('depmod')).toMatch(/member klpbundle_p1_core.ko is not here as a module\n$/);
  });
});

describe('bundle.md, the variation: modprobe', () => {
  it('loads targets paused, then the patch modules of enabled bundles, and has them unpaused, in order', async () => {
    await machine({ v1: fixture('v1'), v2: fixture('v2') });
    await sh('depmod; bundle enable v1 --wait');
    expect(await sh('modprobe -n -v klpbundle_mid')).toBe(
      ['core', 'p1_core', 'mid', 'p1_mid']
        .map((name) => `insmod ${DIR}/extra/klpbundle_${name}.ko \n`)
        .join(''),
    );
    expect(await sh('lsmod | wc -l')).toBe('2\n');
    const seen = lives(session.machine);
    const spawn = vi.spyOn(session.machine, 'spawn');
    expect(await sh('modprobe klpbundle_mid')).toBe('');
    expect(seen).toEqual(['p1_core', 'core', 'p1_mid', 'mid'].map((name) => `klpbundle_${name}`));
    const programs = spawn.mock.calls.filter(([program]) => program !== 'cat');
    expect(programs.map(([program, args]) => [program, ...(args ?? [])])).toEqual(
      ['core', 'mid'].map((name) => [
        'modprobe_paused',
        `${DIR}/extra/klpbundle_${name}.ko`,
        '',
        `${DIR}/extra/klpbundle_p1_${name}.ko`,
      ]),
    );
    expect(await sh('dmesg -t | grep "init says"')).toMatch(/core: init says 100\n.*mid: init says 100\n$/);
    expect(await sh('bundle list')).toMatch(/3 of 4 members live, waiting for klpbundle_top\n$/);
    expect(await sh('modprobe -r klpbundle_mid; bundle list; lsmod | wc -l')).toMatch(
      /1 of 4 members live, waiting for klpbundle_core klpbundle_mid klpbundle_top\n2\n$/,
    );
  });

  it('goes by the order in which bundles were enabled, not by that of modules.klp', async () => {
    await machine({ a: bundleOf('a', ['p2_core']), b: bundleOf('b', ['p1_core']) });
    await sh('depmod; bundle enable b --wait; bundle enable a --wait');
    expect(await sh(`grep core ${DIR}/modules.klp`)).toMatch(/: a=\S+ b=/);
    expect(await sh('modprobe -v klpbundle_core')).toMatch(/core.ko \n.*p1_core.ko \n.*p2_core.ko \n$/);
    expect(await sh('dmesg -t | grep "init says"')).toBe('klpbundle_core: init says 200\n');
  });

  it('gives parameters to the target, and names the file that the kernel refused', async () => {
    await machine({ v1: fixture('v1') });
    const world = new World(session.machine);
    await sh('depmod; bundle enable v1 --wait');
    const before = rest(world);
    expect(await sh('modprobe klpbundle_core init_ret=-19')).toBe(
      "modprobe: ERROR: could not insert 'klpbundle_core': No such device\n[exit status 1]\n",
    );
    session.machine.addFile(`${DIR}/extra/klpbundle_p1_core.ko`, ko('p2_core'));
    expect(await sh('modprobe klpbundle_core')).toBe(
      "modprobe: ERROR: could not insert 'klpbundle_p1_core': Invalid argument\n[exit status 1]\n",
    );
    expect(rest(world)).toEqual(before);
  });

  it('leaves it to the kernel where modules.klp does not have what an enabled bundle needs', async () => {
    await machine({ v1: fixture('v1') }, ['p1_core']);
    await sh('depmod; bundle enable v1 --wait');
    expect(await sh('modprobe -v klpbundle_mid')).toBe(
      ['core', 'p1_core', 'mid'].map((name) => `insmod ${DIR}/extra/klpbundle_${name}.ko \n`).join(''),
    );
    expect(await sh('dmesg -t | grep "init says"')).toMatch(/mid: init says 100\n$/);
  });

  it('is a tool like others: one that unpauses too early is refused, one that is killed leaves nothing', async () => {
    await machine({ v1: fixture('v1') });
    const world = new World(session.machine);
    await sh('bundle enable v1 --wait');
    const before = rest(world);
    await sh(`start modprobe_paused ${DIR}/extra/klpbundle_core.ko; sleep 1`);
    expect(await sh('dmesg -t | tail -1')).toBe(
      "livepatch: module 'klpbundle_core' is not unpaused: member 'klpbundle_p1_core' of bundle 'steps_v1' is not live\n",
    );
    expect(rest(world)).toEqual(before);
    const pid = (await sh(`start hold_paused ${DIR}/extra/klpbundle_core.ko`)).trim();
    expect(await sh('grep Paused /proc/modules')).toMatch(/^klpbundle_core /);
    await sh(`kill -9 ${pid}; sleep 1`);
    expect(rest(world)).toEqual(before);
  });
});
