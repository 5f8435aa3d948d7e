import { execFileSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { followRelative } from '../../src/arch/module_text.ts';
import { nopBytes, optimizeNops } from '../../src/arch/x86_64/module/alternative.ts';
import { CpuFeatures } from '../../src/arch/x86_64/module/cpu_features.ts';
import { insnLength } from '../../src/arch/x86_64/module/module_text.ts';
import { X86_64 } from '../../src/arch/x86_64/x86_64.ts';
import { SHF_ALLOC, SHF_MERGE, SHF_STRINGS, SHT_NOBITS } from '../../src/elf/constants.ts';
import { parseElf } from '../../src/elf/elf_object.ts';
import { THIS_MODULE_SECTION } from '../../src/elf/module_object.ts';
import { BUILT_IN } from '../../src/kernel/description.ts';
import {
  findBug,
  moduleFindBug,
  readBug,
  searchExtable,
  searchModuleExtable,
  sortExtable,
} from '../../src/module/extable.ts';
import { sectionAddress } from '../../src/module/memory.ts';
import type { Module } from '../../src/module/module.ts';
import type { ModuleLoaderPorts } from '../../src/module/ports.ts';
import { fixture, hex, object, Rig, replaced } from './harness.ts';

const LAYOUT = BUILT_IN.structs;

/** The sites module with its keys in memory: one static key on, one static call set. */
function loadSites(ports: Partial<ModuleLoaderPorts> = {}, cpus = 2): { rig: Rig; mod: Module } {
  const rig = new Rig(ports, cpus);
  rig.exportAll(['static_key_on', 'static_key_off', 'static_call_set', 'static_call_null', 'called_now']);
  const at = (name: string) => rig.core.symbols.lookupName(name) ?? 0n;
  rig.core.mem.writeU32(at('static_key_on'), 1);
  rig.core.mem.writeU64(at('static_call_set'), at('called_now'));
  const result = rig.load(object('module-sites'), '', 'sites.ko');
  if (!result.ok) throw new Error(result.reason);
  return { rig, mod: result.module };
}

function code(rig: Rig, name: string, offset: number, size: number): string {
  const at = rig.core.symbols.lookupName(name) ?? 0n;
  return hex(rig.core.mem.readBytes(at + BigInt(offset), size));
}

describe('tables of one name', () => {
  const rig = new Rig({ features: new CpuFeatures('ALWAYS') });
  const result = rig.load(object('module-unique'), '', 'unique.ko');
  if (!result.ok) throw new Error(result.reason);

  it('of alternatives: the last is applied, as module_finalize() has it', () => {
    expect(code(rig, 'first', 0, 5)).toBe('b801000000');
    expect(code(rig, 'last', 0, 5)).toBe('b802000000');
  });

  it('that find_sec() finds: the first counts', () => {
    const { mod } = { mod: result.module };
    expect(rig.core.mem.readU32(mod.addr + BigInt(LAYOUT.module.fields.num_bugs))).toBe(1);
  });

  it('are told, and which of them the kernel reads', () => {
    expect(rig.events).toContainEqual(
      expect.objectContaining({
        type: 'note',
        text:
          'unique has several sections of one name; the kernel reads one of each: ' +
          '.altinstructions (the last of 2), __bug_table (the first of 2)',
      }),
    );
  });
});

describe('alternatives', () => {
  const { rig } = loadSites({ features: new CpuFeatures('ALWAYS', 'POPCNT') });

  it('take the replacement for a feature that is there', () => {
    expect(code(rig, 'alternatives', 0, 5)).toBe('f3480fb8c7');
  });

  it('take the replacement for a feature that is absent, and pad it with one long nop', () => {
    expect(code(rig, 'alternatives', 5, 6)).toBe(`0f01d0${hex(nopBytes(3))}`);
  });

  it('shorten a jump that reaches', () => {
    expect(code(rig, 'alternatives', 11, 5)).toBe(`eb03${hex(nopBytes(3))}`);
  });

  it('stay as compiled for a feature that is not there, with their padding made long nops', () => {
    const plain = loadSites({ features: new CpuFeatures('XENPV') }).rig;
    const { mem, symbols } = plain.core;
    const at = symbols.lookupName('alternatives') ?? 0n;
    expect(at + 5n + BigInt(mem.readS32(at + 1n))).toBe(symbols.lookupName('slow_popcount'));
    expect(code(plain, 'alternatives', 5, 6)).toBe(`0faef0${hex(nopBytes(3))}`);
    expect(code(plain, 'alternatives', 11, 5)).toBe(hex(nopBytes(5)));
  });

  it('never change what the code does: only nops are merged, whatever the padding', () => {
    fc.assert(
      fc.property(
        fc.array(fc.constantFrom([0x90], [0xc3], [0x0f, 0xae, 0xf0], [0x48, 0x89, 0xc8])),
        (insns) => {
          const before = Uint8Array.from(insns.flat());
          const after = before.slice();
          optimizeNops(after, insnLength);
          const real = (bytes: Uint8Array): string[] => {
            const found: string[] = [];
            for (let at = 0; at < bytes.length; ) {
              const length = insnLength(bytes, at);
              const text = hex(bytes.subarray(at, at + length));
              if (text !== hex(nopBytes(length > 8 ? 1 : length))) found.push(text);
              at += length;
            }
            return found;
          };
          expect(real(after)).toEqual(real(before));
        },
      ),
    );
  });
});

describe('sites that follow a key', () => {
  const { rig, mod } = loadSites();

  it('jump labels jump when their key says so', () => {
    expect(code(rig, 'jumps', 0, 5)).toBe('e905000000');
    expect(code(rig, 'jumps', 5, 2)).toBe('6690');
    expect(code(rig, 'jumps', 7, 2)).toBe('6690');
  });

  it('static calls call what their key holds, or nothing', () => {
    const { mem, symbols } = rig.core;
    const at = symbols.lookupName('calls') ?? 0n;
    expect(at + 5n + BigInt(mem.readS32(at + 1n))).toBe(symbols.lookupName('called_now'));
    expect(code(rig, 'calls', 5, 5)).toBe(hex(nopBytes(5)));
    expect(code(rig, 'calls', 10, 5)).toBe('c3cccccccc');
  });

  it('static calls whose key is not exported are known by their trampoline, where somebody knows it by that', () => {
    const bytes = replaced(object('module-sites'), 'static_call_set', '__SCT__call_set');
    const called = (staticCallKey?: ModuleLoaderPorts['staticCallKey']) => {
      const rig: Rig = new Rig(staticCallKey ? { staticCallKey } : {});
      rig.exportAll([
        'static_key_on',
        'static_key_off',
        '__SCT__call_set',
        'the_key',
        'static_call_null',
        'called_now',
      ]);
      const at = (name: string) => rig.core.symbols.lookupName(name) ?? 0n;
      rig.core.mem.writeU64(at('the_key'), at('called_now'));
      const result = rig.load(bytes, '', 'sites.ko');
      if (!result.ok) throw new Error(result.reason);
      const site = at('calls');
      const to = site + 5n + BigInt(rig.core.mem.readS32(site + 1n));
      const note = result.module.reports.find(({ section }) => section === '.static_call_sites')?.note;
      return [rig.core.symbols.nameOf(to), note];
    };
    const key = (trampoline: bigint) => trampoline + 16n;
    expect(called(key)).toEqual(['called_now', '3 changed, 0 as built']);
    expect(called()).not.toContain('called_now');
    expect(called()[1]).toBe('2 changed, 1 as built');
  });

  it('hold what their table says, or are warned of and stay', () => {
    const bytes = object('module-sites').slice();
    const text = parseElf(bytes.slice(), 'sites.ko', X86_64.elf).section('.text');
    const fresh: Rig = new Rig();
    fresh.exportAll(['static_key_on', 'static_key_off', 'static_call_set', 'static_call_null', 'called_now']);
    const offset = (name: string) => Number((rig.core.symbols.lookupName(name) ?? 0n) - mod.base('core'));
    const [jumps, calls] = [offset('jumps'), offset('calls')];
    for (const at of [jumps, calls]) bytes[(text?.offset ?? 0) + at] = 0xcc;
    const result = fresh.load(bytes, '', 'sites.ko');
    if (!result.ok) throw new Error(result.reason);
    const site = (at: number) => `0x${(result.module.base('core') + BigInt(at)).toString(16)}`;
    expect(fresh.dmesg.filter((line) => line.startsWith('WARNING'))).toEqual([
      `WARNING: sites: jump_label: unexpected op at ${site(jumps)}`,
      `WARNING: sites: unexpected static_call insn opcode 0xcc at ${site(calls)}`,
    ]);
    expect(['jumps', 'calls'].map((name) => code(fresh, name, 0, 1))).toEqual(['cc', 'cc']);
  });

  it('are poked, because the text is executable by then', () => {
    expect(rig.pokes.map((p) => rig.core.sym(p.addr).split('+')[0])).toEqual([
      'jumps',
      'jumps',
      'calls',
      'calls',
      'calls',
    ]);
  });

  it('are all accounted for', () => {
    const sections = mod.reports.map((r) => [r.section, r.entries, r.note]);
    expect(sections).toContainEqual(['__jump_table', 3, '2 changed, 1 as built']);
    expect(sections).toContainEqual(['.static_call_sites', 3, '3 changed, 0 as built']);
    expect(sections).toContainEqual(['.smp_locks', 1, 'lock prefixes stay: more than one CPU']);
  });
});

describe('lock prefixes', () => {
  it('stay with several CPUs and go with one', () => {
    expect(code(loadSites().rig, 'locks', 0, 1)).toBe('f0');
    expect(code(loadSites({}, 1).rig, 'locks', 0, 1)).toBe('3e');
  });
});

describe('tables for faults', () => {
  const { rig, mod } = loadSites();
  const at = rig.core.symbols.lookupName('faults') ?? 0n;

  it('the exception table is sorted and finds its fixup', () => {
    expect(searchModuleExtable(rig.core, mod, at)?.fixup).toBe(at + 6n);
    expect(searchModuleExtable(rig.core, mod, at + 3n)?.fixup).toBe(at + 6n);
    expect(searchModuleExtable(rig.core, mod, at + 6n)).toBeUndefined();
  });

  it('entries of the exception table lie by their instructions, each with the fixup that it had', () => {
    const { size, fields } = rig.core.kernel.structs.exception_table_entry;
    const { mem } = rig.core;
    const table = { addr: rig.core.slab.alloc(3 * size, 'test'), size: 3 * size };
    const from = table.addr + 0x1000n;
    const entry = (i: number) => table.addr + BigInt(i * size);
    const distance = (at: bigint) => Number(BigInt.asUintN(32, at));
    // From behind to before; each goes on 0x100 further.
    [30n, 10n, 20n].forEach((offset, i) => {
      const [insnAt, fixupAt] = [entry(i) + BigInt(fields.insn), entry(i) + BigInt(fields.fixup)];
      mem.writeU32(insnAt, distance(from + offset - insnAt));
      mem.writeU32(fixupAt, distance(from + offset + 0x100n - fixupAt));
      mem.writeU32(entry(i) + BigInt(fields.data), i);
    });
    expect(sortExtable(rig.core, table)).toBe(3);
    const insns = [0, 1, 2].map((i) => followRelative(mem, entry(i) + BigInt(fields.insn)));
    expect(insns).toEqual([from + 10n, from + 20n, from + 30n]);
    expect(insns.map((insn) => searchExtable(rig.core, table, insn))).toMatchObject([
      { fixup: from + 0x10an, data: 1 },
      { fixup: from + 0x114n, data: 2 },
      { fixup: from + 0x11en, data: 0 },
    ]);
  });

  it('an entry of the bug table has its message where a later kernel has a place for one', () => {
    const { mem, slab, kernel } = rig.core;
    const fields = { bug_addr_disp: 0, format_disp: 4, file_disp: 8, line: 12, flags: 14 };
    const later = {
      ...kernel,
      structs: { ...kernel.structs, bug_entry: { size: 16, fields, bitfields: {} } },
    };
    const entry = slab.alloc(64, 'test');
    const text = (offset: number, words: string) => {
      mem.writeBytes(entry + BigInt(offset), new TextEncoder().encode(`${words}\0`));
      return offset;
    };
    mem.writeU32(entry + 4n, text(32, 'it warns') - 4);
    mem.writeU32(entry + 8n, text(48, 'file.c') - 8);
    mem.writeU16(entry + 12n, 77);
    mem.writeU16(entry + 14n, 3);
    const home = { mem, kernel: later as typeof kernel };
    expect(readBug(home, entry)).toEqual({
      file: 'file.c',
      line: 77,
      flags: 3,
      flagsAt: entry + 14n,
      format: entry + 32n,
    });
    mem.writeU32(entry + 4n, 0);
    expect(readBug(home, entry)).not.toHaveProperty('format');
    expect(readBug(rig.core, entry)).not.toHaveProperty('format');
  });

  it('the bug table knows file and line of a ud2', () => {
    expect(moduleFindBug(rig.core, mod, at + 7n)).toMatchObject({ file: 'sites.c', line: 77, flags: 1 });
    expect(moduleFindBug(rig.core, mod, at)).toBeUndefined();
    // What lies behind a table is not of it.
    const table = mod.sections.get('__bug_table');
    const entries = (size: number) => findBug(rig.core, { addr: table?.addr ?? 0n, size }, at + 7n);
    expect([table?.size, entries(12)?.line, entries(0)]).toEqual([12, 77, undefined]);
  });
});

describe('CPU features', () => {
  it('have the numbers of the kernel headers', () => {
    const { X86_FEATURE_ALWAYS, X86_FEATURE_RETPOLINE, X86_FEATURE_RETHUNK } = BUILT_IN.constants;
    expect([X86_FEATURE_ALWAYS, X86_FEATURE_RETPOLINE, X86_FEATURE_RETHUNK]).toEqual([117, 364, 366]);
  });

  it('are selected by the numbers of the kernel that a machine has', () => {
    const numbers = { X86_FEATURE_ALWAYS: 5, X86_FEATURE_POPCNT: 6 };
    const selects = new CpuFeatures('ALWAYS').selector({ structs: {}, constants: numbers });
    expect([5, 6].map(selects)).toEqual([true, false]);
  });

  it('that nobody knows are refused', () => {
    expect(() => new CpuFeatures('TELEPATHY')).toThrow('unknown CPU feature TELEPATHY');
  });
});

const hasLd = ((): boolean => {
  try {
    execFileSync('ld', ['--version'], { stdio: 'ignore' });
    return true;
  } catch {
    return false;
  }
})();

/** The file with no section marked as mergeable: ld would join equal strings of different sections. */
function unmergeable(bytes: Uint8Array): Uint8Array {
  const copy = bytes.slice();
  const { header } = parseElf(bytes, 'input', X86_64.elf);
  for (let i = 0; i < header.shnum; i++) copy[header.shoff + i * 64 + 8] &= ~(SHF_MERGE | SHF_STRINGS);
  return copy;
}

/** The loaded sections of a module as GNU ld links them at the addresses where the loader put them. */
function linkedByLd(rig: Rig, mod: Module, bytes: Uint8Array): ReadonlyMap<string, Uint8Array> {
  const dir = mkdtempSync(join(tmpdir(), 'klpemu-ld-'));
  try {
    const loaded = [...mod.layout.places.values()].filter(({ section }) => section.flags & SHF_ALLOC);
    const rules = loaded.map(({ section }) => {
      const addr = sectionAddress(mod, section.index);
      return `"${section.name}" 0x${addr.toString(16)} : { KEEP(*("${section.name}")) }`;
    });
    const image = [...rig.core.symbols.all()].filter((s) => s.module === undefined);
    const defines = image.map((s) => `"${s.name}" = 0x${s.addr.toString(16)};`);
    writeFileSync(join(dir, 'script'), `${defines.join('\n')}\nSECTIONS {\n${rules.join('\n')}\n}\n`);
    writeFileSync(join(dir, 'in.o'), unmergeable(bytes));
    const options = [
      '--no-relax',
      '--no-check-sections',
      '-static',
      '-N',
      '-e',
      '0',
      '-T',
      'script',
      '-o',
      'out',
    ];
    execFileSync('ld', [...options, 'in.o'], { cwd: dir, stdio: 'pipe' });
    const out = new Uint8Array(readFileSync(join(dir, 'out')));
    out[16] = 1; // ET_REL, so that it can be read: its sections are what counts
    const elf = parseElf(out, 'out', X86_64.elf);
    const sections = loaded.flatMap(({ section }) => elf.section(section.name) ?? []);
    return new Map(sections.map((section) => [section.name, elf.data(section)]));
  } finally {
    rmSync(dir, { recursive: true });
  }
}

describe.skipIf(!hasLd)('relocation', () => {
  it.each(['klpdemo_target', 'klpdemo_patch_both'])('of %s writes what GNU ld writes', (name) => {
    const rig = new Rig({ features: new CpuFeatures('ALWAYS', 'RETPOLINE', 'RETHUNK') });
    const load = rig.loader.loadModule({ file: name, bytes: fixture(name) });
    rig.exportAll(
      parseElf(fixture(name), name, X86_64.elf)
        .symbols.filter((s) => s.shndx === 0)
        .map((s) => s.name),
    );
    // Stop at the call of init: the init part is still there.
    load.next();
    const [mod] = rig.loader.modules.all;
    const linked = linkedByLd(rig, mod, fixture(name));
    // The loader has changed struct module since.
    for (const [section, expected] of linked) {
      const found = mod.elf.section(section);
      if (!found || found.type === SHT_NOBITS || section === THIS_MODULE_SECTION) continue;
      const got = rig.core.mem.readBytes(sectionAddress(mod, found.index), found.size);
      expect([section, hex(got)]).toEqual([section, hex(expected)]);
    }
    expect(linked.size).toBeGreaterThan(10);
  });
});
