// A relocated module made ready to run: its tables found, its text suited to the CPU, its symbols published.
// Mirrors find_module_sections(), post_relocation() of kernel/module/main.c, module_finalize() of
// arch/*/kernel/module.c and unwind_module_init() of arch/x86/kernel/unwind_orc.c.
//
// Invariant: every section that asks for work at load time ends up in `mod.reports`, done or not.

import {
  type FeatureSet,
  type FinalizeContext,
  followRelative,
  type PatchCount,
} from '../arch/module_text.ts';
import { OrcTableError, orcTableFromSections } from '../elf/orc.ts';
import { severalSections } from '../elf/several_sections.ts';
import type { KernelCore } from '../kernel/core.ts';
import type { Structs } from '../kernel/description.ts';
import type { LaterStructs } from '../kernel/later_layout.ts';
import { injected } from './error.ts';
import { sortExtable } from './extable.ts';
import { addKallsyms } from './kallsyms.ts';
import type { Module, ModuleExport } from './module.ts';
import { readJumpTable, readStaticCallSites } from './patch_sites.ts';
import type { ModuleLoaderPorts } from './ports.ts';

/** A structure, or bytes. */
type Element = Exclude<keyof Structs, keyof LaterStructs> | number;

/** Pointer and count members of struct module, and the section and the elements they come from. */
const TABLES = [
  ['kp', 'num_kp', '__param', 'kernel_param'],
  ['syms', 'num_syms', '__ksymtab', 'kernel_symbol'],
  ['gpl_syms', 'num_gpl_syms', '__ksymtab_gpl', 'kernel_symbol'],
  ['extable', 'num_exentries', '__ex_table', 'exception_table_entry'],
  ['bug_table', 'num_bugs', '__bug_table', 'bug_entry'],
  ['jump_entries', 'num_jump_entries', '__jump_table', 'jump_entry'],
  ['static_call_sites', 'num_static_call_sites', '.static_call_sites', 'static_call_site'],
  ['ftrace_callsites', 'num_ftrace_callsites', '__mcount_loc', 8],
  ['tracepoints_ptrs', 'num_tracepoints', '__tracepoints_ptrs', 4],
  ['srcu_struct_ptrs', 'num_srcu_structs', '___srcu_struct_ptrs', 8],
  ['trace_events', 'num_trace_events', '_ftrace_events', 8],
  ['trace_evals', 'num_trace_evals', '_ftrace_eval_map', 8],
  ['noinstr_text_start', 'noinstr_text_size', '.noinstr.text', 1],
] as const;

/** Sections for subsystems that this machine does not have. */
const NOT_APPLIED: readonly (readonly [string, Element, string])[] = [
  [
    '.parainstructions',
    'paravirt_patch_site',
    'calls through pv_ops stay; .altinstructions make the native instructions of most',
  ],
  ['__tracepoints_ptrs', 4, 'no tracing: tracepoints stay off'],
  ['_ftrace_events', 8, 'no tracing: event files are not made'],
  ['_ftrace_eval_map', 8, 'no tracing'],
  ['__bpf_raw_tp_map', 'bpf_raw_event_map', 'no BPF'],
  ['__dyndbg', '_ddebug', 'no dynamic debug: pr_debug() stays off'],
  ['___srcu_struct_ptrs', 8, 'static SRCU structures are not initialised'],
  ['.altinstr_aux', 1, 'text of alternatives that test at run time; used as it is'],
  ['.BTF', 1, 'type information is not read'],
];

/** How many elements a table has. */
function entriesIn({ kernel }: KernelCore, { size }: { readonly size: number }, element: Element): number {
  return Math.floor(size / (typeof element === 'number' ? element : kernel.structs[element].size));
}

/** find_module_sections() */
export function findModuleSections(core: KernelCore, mod: Module): void {
  for (const [pointer, count, name, element] of TABLES) {
    const table = mod.sections.get(name);
    if (!table || table.size === 0) continue;
    mod.writeField(pointer, table.addr);
    mod.writeField32(count, entriesIn(core, table, element));
  }
  const crcs = mod.sections.get('__kcrctab');
  if (crcs) mod.writeField('crcs', crcs.addr);
  const gplCrcs = mod.sections.get('__kcrctab_gpl');
  if (gplCrcs) mod.writeField('gpl_crcs', gplCrcs.addr);
  if (mod.sections.has('__obsparm')) core.printk.warn(`${mod.name}: Ignoring obsolete parameters`);
  for (const [name, element, note] of NOT_APPLIED) {
    const section = mod.elf.section(name);
    if (section && section.size > 0) {
      mod.reports.push({ section: name, applied: false, entries: entriesIn(core, section, element), note });
    }
  }
}

/** post_relocation(): sorted tables, symbols, patched text. */
export function postRelocation(core: KernelCore, ports: ModuleLoaderPorts, mod: Module): void {
  const extable = mod.sections.get('__ex_table');
  if (extable?.size) report(mod, '__ex_table', sortExtable(core, extable), 'sorted');
  const bugs = mod.sections.get('__bug_table');
  if (bugs?.size)
    report(
      mod,
      '__bug_table',
      entriesIn(core, bugs, 'bug_entry'),
      `for ${core.arch.code?.bug ?? 'BUG()'} faults`,
    );
  const { elf, layout } = mod;
  addKallsyms(core.mem, elf.symbols, layout.symtab.coreSymbols, mod.kallsyms);
  writeKallsymsPointers(core, mod);
  mod.exports = readExports(core, mod);
  noteUnread(core, mod);
  injected(core, 'module_finalize', mod.name);
  moduleFinalize(core, ports, mod);
  readCallSites(core, mod);
}

function writeKallsymsPointers({ mem, kernel }: KernelCore, mod: Module): void {
  const { kallsyms } = mod;
  const initial = mod.base('init') + BigInt(mod.layout.symtab.initKallsyms);
  const f = kernel.structs.mod_kallsyms.fields;
  const inModule = mod.addr + BigInt(kernel.structs.module.fields.core_kallsyms);
  for (const [at, table] of [
    [initial, kallsyms.init],
    [inModule, kallsyms.core],
  ] as const) {
    mem.writeU64(at + BigInt(f.symtab), table.symtab);
    mem.writeU32(at + BigInt(f.num_symtab), table.count);
    mem.writeU64(at + BigInt(f.strtab), table.strtab);
    mem.writeU64(at + BigInt(f.typetab), table.types);
  }
  mod.writeField('kallsyms', initial);
}

/** Of several tables of one name the kernel reads one, and says nothing. */
function noteUnread({ events }: KernelCore, { elf, name }: Module): void {
  const several = severalSections(elf);
  if (several.length === 0) return;
  const text = `${name} has several sections of one name; the kernel reads one of each: ${several.join(', ')}`;
  events.emit({ type: 'note', text });
}

function cpuFeatures({ arch, protection }: KernelCore): FeatureSet {
  return protection && arch.protection ? arch.protection.features : arch.moduleText.features;
}

/** module_finalize(): the port's tables, in its order. */
function moduleFinalize(core: KernelCore, ports: ModuleLoaderPorts, mod: Module): void {
  const { mem, kernel, symbols, cpus, arch } = core;
  const context: FinalizeContext = {
    mem,
    kernel,
    cpus,
    features: ports.features ?? cpuFeatures(core),
    text: mod.lastSections.get('.text'),
    lookupName: (name) => symbols.matches(name, undefined)[0]?.addr,
    nameAt: (addr) => {
      const found = symbols.lookup(addr);
      return found?.offset === 0 ? found.name : undefined;
    },
  };
  for (const { section, entry, what, apply } of arch.moduleText.tables) {
    const table = mod.lastSections.get(section);
    if (!table?.size) continue;
    const done = apply(context, table);
    const entries = Math.floor(
      table.size / (typeof entry === 'number' ? entry : context.kernel.structs[entry].size),
    );
    if (typeof done === 'string') report(mod, section, entries, done);
    else reportPatches(core, mod, section, entries, done, what);
  }
  loadOrc(mod, core);
}

function loadOrc(mod: Module, core: KernelCore): void {
  const ip = mod.lastSections.get('.orc_unwind_ip');
  const orc = mod.lastSections.get('.orc_unwind');
  const layout = core.arch.code?.orc.byHash(core.kernel.orcHash);
  if (!ip?.size || !orc?.size || !layout) return;
  const { mem } = core;
  try {
    mod.orc = orcTableFromSections(mem.view(ip.addr, ip.size), ip.addr, mem.view(orc.addr, orc.size), layout);
  } catch (error) {
    if (!(error instanceof OrcTableError)) throw error;
    // As in the kernel such a module loads; its frames are unreliable to the unwinder.
    core.printk.warn(`WARNING: ${mod.name}: ${error.message}`);
    mod.reports.push({ section: '.orc_unwind', applied: false, entries: 0, note: error.message });
    return;
  }
  mod.writeField('arch_orc_unwind_ip', ip.addr);
  mod.writeField('arch_orc_unwind', orc.addr);
  mod.writeField32('arch_num_orcs', mod.orc.count);
  report(mod, '.orc_unwind', mod.orc.count, 'in the unwinder');
}

/** The tables of sites that later steps work on. */
function readCallSites({ mem, kernel }: KernelCore, mod: Module): void {
  const mcount = mod.sections.get('__mcount_loc');
  if (mcount?.size) {
    const sites = Array.from({ length: Math.floor(mcount.size / 8) }, (_, i) =>
      mem.readU64(mcount.addr + BigInt(i * 8)),
    );
    // ftrace_process_locs(): the linker leaves zeroes for functions it dropped.
    mod.fentrySites = sites.filter((s) => s !== 0n).sort((a, b) => (a < b ? -1 : 1));
    report(mod, '__mcount_loc', mod.fentrySites.length, 'fentry sites');
  }
  const jumps = mod.sections.get('__jump_table');
  if (jumps?.size) mod.jumpEntries = readJumpTable({ mem, kernel }, jumps);
  const calls = mod.sections.get('.static_call_sites');
  if (calls?.size) mod.staticCallSites = readStaticCallSites({ mem, kernel }, calls);
}

/** The symbols in __ksymtab and __ksymtab_gpl, with their checksums. */
function readExports({ mem, kernel }: KernelCore, mod: Module): ModuleExport[] {
  const { size, fields } = kernel.structs.kernel_symbol;
  const exports: ModuleExport[] = [];
  for (const [name, crcName, gpl] of [
    ['__ksymtab', '__kcrctab', false],
    ['__ksymtab_gpl', '__kcrctab_gpl', true],
  ] as const) {
    const table = mod.sections.get(name);
    const crcs = mod.sections.get(crcName);
    // From 7.x on there is one table, and flags beside it.
    const flags = gpl ? undefined : mod.sections.get('__kflagstab');
    const count = Math.floor((table?.size ?? 0) / size);
    for (let i = 0; i < count && table; i++) {
      const at = table.addr + BigInt(i * size);
      const namespace = at + BigInt(fields.namespace_offset);
      exports.push({
        addr: followRelative(mem, at + BigInt(fields.value_offset)),
        name: mem.readCString(followRelative(mem, at + BigInt(fields.name_offset))),
        namespace: mem.readS32(namespace) === 0 ? undefined : mem.readCString(followRelative(mem, namespace)),
        crc: crcs && crcs.size >= i * 4 + 4 ? mem.readU32(crcs.addr + BigInt(i * 4)) : undefined,
        gpl: gpl || (flags !== undefined && i < flags.size && isGpl(mem.readU8(flags.addr + BigInt(i)))),
      });
    }
  }
  return exports;
}

const KFLAG_GPL = 1;
const isGpl = (flags: number): boolean => (flags & KFLAG_GPL) !== 0;

function report(mod: Module, section: string, entries: number, note: string): void {
  mod.reports.push({ section, applied: true, entries, note });
}

function reportPatches(
  { printk }: KernelCore,
  mod: Module,
  section: string,
  entries: number,
  count: PatchCount,
  what: string,
): void {
  for (const warning of count.warnings) printk.warn(`WARNING: ${mod.name}: ${warning}`);
  report(mod, section, entries, `${count.patched} ${what}, ${count.kept} kept`);
}
