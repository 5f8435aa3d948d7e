// What a module's tables come to: where its struct says that each is, and what is said of those that nothing is done with.

import { describe, expect, it } from 'vitest';
import { X86_64 } from '../../src/arch/x86_64/x86_64.ts';
import { parseElf } from '../../src/elf/elf_object.ts';
import type { Module } from '../../src/module/module.ts';
import { fixture, loadedFrom, object, type Rig, renamed } from './harness.ts';

const NAME = 'klpdemo_target';
/** A section of it that stays in memory, and that nothing here reads. */
const SPARE = '.rodata';
const SPARE_SIZE = parseElf(fixture(NAME), 'x.ko', X86_64.elf).section(SPARE)?.size ?? 0;

describe('the struct of a module', () => {
  /** Its pointers to tables, their counts, the sections, and the bytes of an entry. */
  const TABLES = [
    ['kp', 'num_kp', '__param', 40],
    ['syms', 'num_syms', '__ksymtab', 12],
    ['gpl_syms', 'num_gpl_syms', '__ksymtab_gpl', 12],
    ['extable', 'num_exentries', '__ex_table', 12],
    ['bug_table', 'num_bugs', '__bug_table', 12],
    ['jump_entries', 'num_jump_entries', '__jump_table', 16],
    ['static_call_sites', 'num_static_call_sites', '.static_call_sites', 8],
    ['ftrace_callsites', 'num_ftrace_callsites', '__mcount_loc', 8],
    ['tracepoints_ptrs', 'num_tracepoints', '__tracepoints_ptrs', 4],
    ['srcu_struct_ptrs', 'num_srcu_structs', '___srcu_struct_ptrs', 8],
    ['trace_events', 'num_trace_events', '_ftrace_events', 8],
    ['trace_evals', 'num_trace_evals', '_ftrace_eval_map', 8],
    ['noinstr_text_start', 'noinstr_text_size', '.noinstr.text', 1],
  ] as const;

  /** What each says of the module that has it. */
  function seen({ rig, mod }: { rig: Rig; mod: Module }) {
    const { mem, kernel } = rig.core;
    const at = (member: string) =>
      mod.addr + BigInt((kernel.structs.module.fields as Record<string, number>)[member]);
    return TABLES.map(([pointer, count, section]) => [
      section,
      mem.readU64(at(pointer)),
      mem.readU32(at(count)),
    ]);
  }
  const expected = (mod: Module) =>
    TABLES.map(([, , section, size]) => {
      const table = mod.sections.get(section);
      return [section, table?.addr ?? 0n, Math.floor((table?.size ?? 0) / size)];
    });

  it.each([
    ['klpdemo_target', ['__param', '__mcount_loc']],
    ['module-sites', ['__ex_table', '__bug_table', '__jump_table', '.static_call_sites']],
    ['module-exporter', ['__ksymtab', '__ksymtab_gpl']],
  ])('of %s has where each of its tables is, and how many entries it has', (name, tables) => {
    const world = loadedFrom(name.startsWith('klp') ? fixture(name) : object(name));
    expect(seen(world)).toEqual(expected(world.mod));
    expect(TABLES.filter(([, , section]) => world.mod.sections.has(section)).map(([, , s]) => s)).toEqual(
      expect.arrayContaining(tables),
    );
  });

  it.each(TABLES.slice(8).map(([, , section]) => [section]))(
    'has %s, of a module with such a section',
    (section) => {
      const world = loadedFrom(renamed(fixture(NAME), SPARE, section));
      expect(world.mod.sections.get(section)?.size).toBe(SPARE_SIZE);
      expect(seen(world)).toEqual(expected(world.mod));
    },
  );

  it('has its unwind tables', () => {
    const { rig, mod } = loadedFrom(fixture(NAME));
    const { addr, sections, orc, reports } = mod;
    const { arch_orc_unwind_ip, arch_orc_unwind, arch_num_orcs } = rig.core.kernel.structs.module.fields;
    const { mem } = rig.core;
    expect(mem.readU64(addr + BigInt(arch_orc_unwind_ip))).toBe(sections.get('.orc_unwind_ip')?.addr);
    expect(mem.readU64(addr + BigInt(arch_orc_unwind))).toBe(sections.get('.orc_unwind')?.addr);
    expect(mem.readU32(addr + BigInt(arch_num_orcs))).toBe(orc?.count);
    expect(reports).toContainEqual({
      section: '.orc_unwind',
      applied: true,
      entries: orc?.count,
      note: 'in the unwinder',
    });
  });
});

describe('a section for what is not there', () => {
  /** Each, the bytes of an entry, and what is said of it. */
  const NOT_APPLIED = [
    [
      '.parainstructions',
      16,
      'calls through pv_ops stay; .altinstructions make the native instructions of most',
    ],
    ['__tracepoints_ptrs', 4, 'no tracing: tracepoints stay off'],
    ['_ftrace_events', 8, 'no tracing: event files are not made'],
    ['_ftrace_eval_map', 8, 'no tracing'],
    ['__bpf_raw_tp_map', 32, 'no BPF'],
    ['__dyndbg', 56, 'no dynamic debug: pr_debug() stays off'],
    ['___srcu_struct_ptrs', 8, 'static SRCU structures are not initialised'],
    ['.altinstr_aux', 1, 'text of alternatives that test at run time; used as it is'],
    ['.BTF', 1, 'type information is not read'],
  ] as const;
  const reports = (bytes: Uint8Array) => loadedFrom(bytes).mod.reports.filter(({ applied }) => !applied);

  it.each(NOT_APPLIED)('%s, with entries of %i bytes, is told: %s', (section, size, note) => {
    const entries = Math.floor(SPARE_SIZE / size);
    expect(entries).toBeGreaterThan(0);
    expect(reports(renamed(fixture(NAME), SPARE, section))).toEqual([
      { section, applied: false, entries, note },
    ]);
  });

  it('is not told of where there is none, or nothing in it', () => {
    expect(reports(renamed(fixture(NAME), SPARE, '.rodata.another'))).toEqual([]);
    expect(reports(renamed(fixture(NAME), '.note.GNU-stack', '.BTF'))).toEqual([]);
  });
});

describe('what a module exports', () => {
  const [PLAIN, GPL, PRIVATE] = [0x11111111, 0x22222222, 0x33333333];
  const EXPORTER = parseElf(object('module-exporter'), 'x.ko', X86_64.elf);

  /** Name, namespace, checksum, and whether it is for GPL modules only. */
  function exported(bytes: Uint8Array): unknown[] {
    const { rig, mod } = loadedFrom(bytes);
    return mod.exports.map(({ name, addr, namespace, crc, gpl }) => {
      expect(addr).toBe(rig.core.symbols.lookupName(name));
      return [name, namespace, crc, gpl];
    });
  }
  const exports = (plain: unknown[], gpl: unknown[], priv: unknown[]) => [
    ['shared_plain', undefined, ...plain],
    ['shared_gpl', undefined, ...gpl],
    ['shared_private', 'PRIVATE_NS', ...priv],
  ];

  it('is in two tables, with checksums beside each', () => {
    expect(exported(object('module-exporter'))).toEqual(
      exports([PLAIN, false], [GPL, true], [PRIVATE, true]),
    );
  });

  it.each([
    ['has no checksums where there are none', '__kcrctab', 0, [undefined, GPL, PRIVATE]],
    ['nor behind the end of their table', '__kcrctab_gpl', 4, [PLAIN, GPL, undefined]],
    ['nor where half of one is left', '__kcrctab_gpl', 7, [PLAIN, GPL, undefined]],
  ])('%s', (_, section, size, [plain, gpl, priv]) => {
    const bytes = object('module-exporter');
    const header = EXPORTER.header.shoff + 64 * (EXPORTER.section(section)?.index ?? 0);
    new DataView(bytes.buffer).setBigUint64(header + 32, BigInt(size), true);
    expect(exported(bytes)).toEqual(exports([plain, false], [gpl, true], [priv, true]));
  });

  it.each([
    [1, true],
    [2, false],
    [3, true],
  ])(
    'has flags beside its one table on later kernels: with %i it is for GPL modules only, %j',
    (flags, only) => {
      const bytes = object('module-exporter');
      bytes[EXPORTER.section('__kcrctab_gpl')?.offset ?? 0] = flags;
      const later = exported(renamed(bytes, '__kcrctab_gpl', '__kflagstab'));
      expect(later).toEqual(exports([PLAIN, only], [undefined, true], [undefined, true]));
    },
  );
});

describe('what was done with the tables of a module', () => {
  it('is told of each, with how many entries it has', () => {
    const { mod } = loadedFrom(object('module-sites'));
    const applied = true;
    expect(mod.reports).toEqual([
      { section: '__ex_table', applied, entries: 2, note: 'sorted' },
      { section: '__bug_table', applied, entries: 1, note: 'for ud2 faults' },
      { section: '.altinstructions', applied, entries: 3, note: '2 alternative taken, 1 kept' },
      { section: '.smp_locks', applied, entries: 1, note: 'lock prefixes stay: more than one CPU' },
      { section: '__jump_table', applied, entries: 3, note: '0 changed, 3 as built' },
      { section: '.static_call_sites', applied, entries: 3, note: '3 changed, 0 as built' },
    ]);
  });
});

describe('parameters of a kind that is long gone', () => {
  it('are ignored, and that is said', () => {
    const line = `${NAME}: Ignoring obsolete parameters`;
    expect(loadedFrom(renamed(fixture(NAME), SPARE, '__obsparm')).rig.dmesg).toContain(line);
    expect(loadedFrom(fixture(NAME)).rig.dmesg).not.toContain(line);
    // As of all its tables, the kernel looks for those that are in memory.
    expect(loadedFrom(renamed(fixture(NAME), '.comment', '__obsparm')).rig.dmesg).not.toContain(line);
  });
});
