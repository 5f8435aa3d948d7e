// Branches that change while the kernel runs: sites of static keys and static calls, of the image and of modules, by text poking alone.

import { describe, expect, it } from 'vitest';
import { nopBytes } from '../../src/arch/x86_64/module/alternative.ts';
import type { Addr } from '../../src/guest/addr.ts';
import { HostFunctions, type HostGenerator } from '../../src/guest/hostcall.ts';
import { BranchUpdates } from '../../src/module/branch_updates.ts';
import type { Module } from '../../src/module/module.ts';
import { hex, object, Rig } from './harness.ts';

const KEYS = [
  'static_key_on',
  'static_key_off',
  'static_call_set',
  'static_call_null',
  'called_now',
  'called_then',
];

interface World {
  readonly rig: Rig;
  readonly mod: Module;
  readonly updates: BranchUpdates;
  /** What was poked, one list for each change of a key. */
  readonly poked: Addr[][];
  readonly at: (name: string) => Addr;
  /** Bytes of a function of the module, from an offset on. */
  readonly code: (name: string, offset: number, size: number) => string;
}

/** The module of sites, as in `sites that follow a key`: one key on, one call set. */
function load(): World {
  const rig = new Rig();
  rig.exportAll(KEYS);
  const { mem, symbols } = rig.core;
  const at = (name: string) => symbols.lookupName(name) ?? 0n;
  mem.writeU32(at('static_key_on'), 1);
  mem.writeU64(at('static_call_set'), at('called_now'));
  const result = rig.load(object('module-sites'), '', 'sites.ko');
  if (!result.ok) throw new Error(result.reason);
  const poked: Addr[][] = [];
  const updates = new BranchUpdates(rig.core, rig.loader.modules, function* (changes) {
    poked.push(changes.map(({ addr }) => addr));
    for (const { addr, insn } of changes) mem.pokeText(addr, insn);
  });
  const code = (name: string, offset: number, size: number) =>
    hex(mem.readBytes(at(name) + BigInt(offset), size));
  return { rig, mod: result.module, updates, poked, at, code };
}

/** Calls a function of the kernel. */
function call({ rig }: World, name: string, ...args: Addr[]): void {
  const result = rig.core.host.get(name)?.({ cpu: 0, args, sp: 0n, caller: 0n });
  if (typeof result === 'object') rig.run(result);
}

describe('a static key', () => {
  const [JUMP, NOP] = ['e905000000', hex(nopBytes(5))];

  it('that is disabled and enabled takes its jumps out, and puts them in again', () => {
    const world = load();
    const { poked, at, code } = world;
    const sites = () => [code('jumps', 0, 5), code('jumps', 7, 2)];
    expect(sites()).toEqual([JUMP, '6690']);
    call(world, 'static_key_disable', at('static_key_on'));
    // The third site jumps while its key is off.
    expect(sites()).toEqual([NOP, 'eb01']);
    expect(poked).toEqual([[at('jumps'), at('jumps') + 7n]]);
    call(world, 'static_key_disable', at('static_key_on'));
    expect(poked).toHaveLength(1);
    call(world, 'static_key_enable', at('static_key_on'));
    expect(sites()).toEqual([JUMP, '6690']);
    expect(code('jumps', 5, 2)).toBe('6690');
  });

  it('and a static call have what they say where the kernel has it in them', () => {
    const { rig, at } = load();
    const { static_key, static_call_key } = rig.core.kernel.structs;
    const structs = {
      ...rig.core.kernel.structs,
      static_key: { ...static_key, fields: { ...static_key.fields, enabled: 8 } },
      static_call_key: { ...static_call_key, fields: { ...static_call_key.fields, func: 8 } },
    };
    const core = { ...rig.core, host: new HostFunctions(), kernel: { ...rig.core.kernel, structs } };
    new BranchUpdates(core, rig.loader.modules, function* () {});
    const key = at('static_key_off');
    const words = () => [-8n, 0n, 8n].map((offset) => rig.core.mem.readU64(key + offset));
    const [before, first] = words();
    const seen = [
      'static_key_enable',
      'static_key_slow_inc',
      'static_key_slow_dec',
      'static_key_disable',
    ].map((name) => {
      rig.run(core.host.get(name)?.({ cpu: 0, args: [key], sp: 0n, caller: 0n }) as HostGenerator<unknown>);
      return words();
    });
    const [set, tramp] = [at('called_then'), 0n];
    const update = core.host.get('__static_call_update');
    rig.run(update?.({ cpu: 0, args: [key, tramp, set], sp: 0n, caller: 0n }) as HostGenerator<unknown>);
    expect([...seen, words()]).toEqual([1n, 2n, 1n, 0n, set].map((value) => [before, first, value]));
  });

  it('that is counted changes text with the first and the last alone, and is not set by enable or disable then', () => {
    const world = load();
    const { poked, at, code, rig } = world;
    const key = at('static_key_off');
    const count = () => rig.core.mem.readS32(key);
    const jumps = () => code('jumps', 5, 1) === 'eb';
    const seen = ['slow_inc', 'slow_inc', 'enable', 'disable', 'slow_dec', 'slow_dec'].map((what) => {
      call(world, `static_key_${what}`, key);
      return [count(), jumps(), poked.length];
    });
    expect(seen).toEqual([
      [1, true, 1],
      [2, true, 1],
      [2, true, 1],
      [2, true, 1],
      [1, true, 1],
      [0, false, 2],
    ]);
  });
});

describe('a static call', () => {
  /** Whom the call or jump at an offset of `calls` goes to; undefined for none. */
  function target({ rig, at }: World, offset: number): string | undefined {
    const site = at('calls') + BigInt(offset);
    const { mem, symbols } = rig.core;
    if (![0xe8, 0xe9].includes(mem.readU8(site))) return undefined;
    return symbols.nameOf(site + 5n + BigInt(mem.readS32(site + 1n)));
  }

  it('that is given another function calls it at all its sites; the same one again changes nothing', () => {
    const world = load();
    const { at, poked } = world;
    call(world, '__static_call_update', at('static_call_set'), 0n, at('called_then'));
    call(world, '__static_call_update', at('static_call_set'), 0n, at('called_then'));
    expect([target(world, 0), poked]).toEqual(['called_then', [[at('calls')]]]);
  });

  it('of nothing is given a function, and nothing again: nops and returns are sites, too', () => {
    const world = load();
    const { at, code, rig } = world;
    const key = at('static_call_null');
    const nothing = [hex(nopBytes(5)), 'c3cccccccc'];
    const sites = () => [5, 10].map((offset) => code('calls', offset, 5));
    expect(sites()).toEqual(nothing);
    call(world, '__static_call_update', key, 0n, at('called_then'));
    expect([target(world, 5), target(world, 10)]).toEqual(['called_then', 'called_then']);
    expect([code('calls', 5, 1), code('calls', 10, 1)]).toEqual(['e8', 'e9']);
    call(world, '__static_call_update', key, 0n, 0n);
    expect(sites()).toEqual(nothing);
    expect(rig.dmesg.filter((line) => line.startsWith('WARNING'))).toEqual([]);
  });

  it('whose site holds what no call leaves there is warned of, and stays', () => {
    const world = load();
    const { at, rig, code } = world;
    // A jump where it is no tail call.
    rig.core.mem.pokeText(at('calls'), Uint8Array.of(0xe9));
    call(world, '__static_call_update', at('static_call_set'), 0n, at('called_then'));
    const site = at('calls').toString(16);
    expect(rig.dmesg.at(-1)).toBe(`WARNING: unexpected static_call insn opcode 0xe9 at 0x${site}`);
    expect(target(world, 0)).toBe('called_now');
    expect(code('calls', 0, 1)).toBe('e9');
  });

  it('has its trampoline jump there, first, and those of its sites that know it by that', () => {
    const world = load();
    const { at, poked, rig, mod } = world;
    const { mem } = rig.core;
    rig.exportAll(['trampoline']);
    const trampoline = at('trampoline');
    mem.writeBytes(trampoline, Uint8Array.of(0xe9, 0, 0, 0, 0));
    mod.staticCallSites = [{ addr: at('calls'), key: trampoline, tail: false }];
    call(world, '__static_call_update', at('called_now'), trampoline, at('called_then'));
    expect(poked).toEqual([[trampoline, at('calls')]]);
    expect(trampoline + 5n + BigInt(mem.readS32(trampoline + 1n))).toBe(at('called_then'));
    expect(target(world, 0)).toBe('called_then');
  });
});

describe('tables of the image', () => {
  /** A table of 16 bytes between the linker's marks, by words of four. */
  function marked(world: World, start: string, stop: string, words: (at: Addr) => readonly bigint[]): void {
    const { mem } = world.rig.core;
    world.rig.exportAll([start, stop]);
    const at = world.at(start);
    for (const [i, word] of words(at).entries())
      mem.writeU32(at + BigInt(4 * i), Number(BigInt.asUintN(32, word)));
    expect(world.at(stop) - at).toBe(16n);
  }

  it('say the key of a trampoline that is exported without it', () => {
    const world = load();
    const { at, updates } = world;
    const [one, two] = [0xffffffff81000100n, 0xffffffff81000200n];
    expect(updates.keyOf(one)).toBeUndefined();
    marked(world, '__start_static_call_tramp_key', '__stop_static_call_tramp_key', (table) =>
      [one, at('static_call_set'), two, at('static_call_null')].map(
        (addr, i) => addr - (table + BigInt(4 * i)),
      ),
    );
    expect([one, two, one + 8n].map((addr) => updates.keyOf(addr))).toEqual([
      at('static_call_set'),
      at('static_call_null'),
      undefined,
    ]);
  });

  it.each([
    ['__start___jump_table', '__stop___jump_table'],
    ['klp_jump_table', 'klp_jump_table_end'],
  ])('have jumps of the image follow their key: %s', (start, stop) => {
    const world = load();
    const { at, rig, poked } = world;
    rig.exportAll(['image_site', 'image_target', 'image_key']);
    rig.core.mem.writeBytes(at('image_site'), nopBytes(5));
    marked(world, start, stop, (table) => {
      const key = at('image_key') - (table + 8n);
      return [at('image_site') - table, at('image_target') - (table + 4n), key, key >> 32n];
    });
    call(world, 'static_key_enable', at('image_key'));
    expect(poked).toEqual([[at('image_site')]]);
    expect(hex(rig.core.mem.readBytes(at('image_site'), 5))).toBe('e90b000000');
  });

  it('have calls of the image follow theirs', () => {
    const world = load();
    const { at, rig, poked } = world;
    rig.exportAll(['image_call', 'image_tail', 'image_call_key']);
    for (const [name, opcode] of [
      ['image_call', 0xe8],
      ['image_tail', 0xe9],
    ] as const)
      rig.core.mem.writeBytes(at(name), Uint8Array.of(opcode, 0, 0, 0, 0));
    marked(world, '__start_static_call_sites', '__stop_static_call_sites', (table) => [
      at('image_call') - table,
      at('image_call_key') - (table + 4n),
      at('image_tail') - (table + 8n),
      at('image_call_key') + 1n - (table + 12n),
    ]);
    call(world, '__static_call_update', at('image_call_key'), 0n, at('called_then'));
    expect(poked).toEqual([[at('image_call'), at('image_tail')]]);
    expect([at('image_call'), at('image_tail')].map((site) => rig.core.mem.readU8(site))).toEqual([
      0xe8, 0xe9,
    ]);
  });
});
