// From a kernel's file to one that has booted, as far as its own text goes: what it does to itself before anything runs.
// Mirrors alternative_instructions() of arch/x86/kernel/alternative.c, static_call_init() and preempt_dynamic_init().
// Calls of __fentry__ become nops later, when ftrace starts (Ftrace.init()), as everywhere.
//
// Invariant: tables are applied in memory of their own, where nothing is executable yet: as for modules a plain write is
// enough.

import type { Arch } from '../../arch/arch.ts';
import type { FeatureSet, FinalizeContext } from '../../arch/module_text.ts';
import { type OrcTable, orcTableFromSections } from '../../elf/orc.ts';
import { IMAGE_BASE, lo32 } from '../../guest/addr.ts';
import { GuestMemory, PAGE_SIZE, PROT_READ, PROT_WRITE } from '../../guest/memory.ts';
import { whyUnknown } from '../../kernel/defines.ts';
import { describeFile } from '../../kernel/describe.ts';
import type { KernelDescription } from '../../kernel/description.ts';
import { inlinedCalls, readStaticCallSites, updateStaticCalls } from '../../module/patch_sites.ts';
import { readExports } from '../../vmlinuz/exports.ts';
import { kernelIdentity } from '../../vmlinuz/identity.ts';
import type { KernelFile } from '../../vmlinuz/kernel_file.ts';
import type { LinkedKernel } from '../../vmlinuz/linked_kernel.ts';
import {
  contentOf,
  high,
  Marks,
  type NativeKernel,
  nativeSymbols,
  segmentsOf,
  trimmed,
} from './native_kernel.ts';
import { PackedExports } from './packed_exports.ts';

/** What preempt_dynamic_init() makes of static calls where preemption is voluntary, as the built-in kernel has it. */
const PREEMPTION: readonly (readonly [name: string, func: string | undefined])[] = [
  ['cond_resched', '__cond_resched'],
  ['might_resched', '__cond_resched'],
  ['preempt_schedule', undefined],
  ['preempt_schedule_notrace', undefined],
  ['irqentry_exit_cond_resched', undefined],
];
/** preempt_dynamic_voluntary */
const PREEMPT_VOLUNTARY = 1;

export interface Prepared {
  readonly native: NativeKernel;
  readonly description: KernelDescription;
  readonly absent: readonly string[];
}

/** @throws ElfError for a kernel that the machine cannot take, with the reason */
export function prepareNative(file: KernelFile, arch: Arch): Prepared {
  const { kernel } = file;
  const symbols = nativeSymbols(file.kallsyms);
  const { description, absent } = describeFile(kernel);
  const unknown = whyUnknown(description.release);
  if (unknown !== undefined)
    throw kernel.error(`kernel ${description.release} cannot be booted here: ${unknown}`);
  const percpu = kernel.section('.data..percpu');
  if (!percpu) throw kernel.error('it has no per-CPU data: it was built without CONFIG_SMP');
  const marks = new Marks(kernel, symbols);
  const segments = segmentsOf(kernel, marks);
  const pieces = new Pieces(kernel, marks, description, arch);
  const plain = pieces.booted(arch.moduleText.features);
  const protecting = arch.protection ? pieces.booted(arch.protection.features) : plain;
  const native: NativeKernel = {
    segments: segments.map((segment) => ({
      ...segment,
      content: contentOf(trimmed(plain.view(segment.start, segment.size))),
    })),
    protecting: segments.flatMap(({ start, size }) =>
      differences(start, plain.view(start, size), protecting.view(start, size)),
    ),
    percpu: kernel.data(percpu).slice(),
    percpuStart: percpu.start === 0 ? 0n : high(percpu.start),
    end: high(pageUp(marks.at('_end'))),
    symbols,
    fentrySites: fentrySites(kernel, marks),
    text: marks.table('_stext', '_etext'),
    init: marks.table('__init_begin', '__init_end'),
    orc: orcOf(kernel, description, arch),
    exports: PackedExports.of(readExports(kernel)),
    extable: marks.table('__start___ex_table', '__stop___ex_table'),
    bugs: marks.table('__start___bug_table', '__stop___bug_table'),
    banner: kernelIdentity(kernel).banner,
  };
  return { native, description, absent };
}

const pageUp = (at: number): number => Math.ceil(at / PAGE_SIZE) * PAGE_SIZE;

class Pieces {
  readonly #kernel: LinkedKernel;
  readonly #marks: Marks;
  readonly #description: KernelDescription;
  readonly #arch: Arch;

  constructor(kernel: LinkedKernel, marks: Marks, description: KernelDescription, arch: Arch) {
    this.#kernel = kernel;
    this.#marks = marks;
    this.#description = description;
    this.#arch = arch;
  }

  /** All of the kernel at its addresses, as it is when it has changed its text for a CPU. */
  booted(features: FeatureSet): GuestMemory {
    const mem = this.#loaded();
    const marks = this.#marks;
    const context: FinalizeContext = {
      mem,
      kernel: this.#description,
      cpus: 2,
      features,
      text: undefined,
      lookupName: (name) => {
        const found = marks.find(name);
        return found === undefined ? undefined : high(found);
      },
      nameAt: (addr) => marks.thunkAt(lo32(addr)),
    };
    for (const { section, apply } of this.#arch.moduleText.tables) {
      const table = this.#kernel.section(section);
      if (table?.start) apply(context, { addr: high(table.start), size: table.end - table.start });
    }
    this.#staticCalls(mem);
    return mem;
  }

  #loaded(): GuestMemory {
    const kernel = this.#kernel;
    const end = Math.max(...kernel.loaded.map((section) => section.end));
    const image = pageUp(end - lo32(IMAGE_BASE));
    const mem = new GuestMemory({ image, heap: PAGE_SIZE, stacks: 1, modules: PAGE_SIZE });
    mem.map(IMAGE_BASE, image, PROT_READ | PROT_WRITE);
    for (const section of kernel.loaded) {
      const data = kernel.data(section);
      if (data.length > 0) mem.writeBytes(high(section.start), data);
    }
    return mem;
  }

  #staticCalls(mem: GuestMemory): void {
    const marks = this.#marks;
    const func = BigInt(this.#description.structs.static_call_key.fields.func);
    const { branches } = this.#arch.moduleText;
    for (const [name, target] of PREEMPTION) {
      const [key, tramp] = [marks.find(`__SCK__${name}`), marks.find(`__SCT__${name}`)];
      const to = target === undefined ? 0n : high(marks.at(target));
      if (key !== undefined) mem.writeU64(high(key) + func, to);
      if (key !== undefined && tramp !== undefined)
        mem.writeBytes(high(tramp), branches.staticCall(high(tramp), to, true));
    }
    const mode = marks.find('preempt_dynamic_mode');
    if (mode !== undefined) mem.writeU32(high(mode), PREEMPT_VOLUNTARY);
    const table = marks.table('__start_static_call_sites', '__stop_static_call_sites');
    const sites = readStaticCallSites({ mem, kernel: this.#description }, table);
    const poke = (addr: bigint, bytes: Uint8Array): void => mem.writeBytes(addr, bytes);
    const target = (key: bigint): bigint => mem.readU64(key + func);
    const find = (name: string): bigint | undefined => {
      const at = marks.find(name);
      return at === undefined ? undefined : high(at);
    };
    updateStaticCalls(branches, mem, sites, { target, poke, inlined: inlinedCalls(branches, find) });
  }
}

/** Runs of bytes that differ, those nearer than 8 bytes in one. */
function differences(start: bigint, before: Uint8Array, after: Uint8Array): [bigint, Uint8Array][] {
  const runs: [bigint, Uint8Array][] = [];
  if (Buffer.compare(before, after) === 0) return runs;
  for (let at = 0; at < before.length; at++) {
    if (before[at] === after[at]) continue;
    let end = at + 1;
    for (let next = end; next < Math.min(end + 8, before.length); next++)
      if (before[next] !== after[next]) end = next + 1;
    runs.push([start + BigInt(at), after.slice(at, end)]);
    at = end;
  }
  return runs;
}

/** Those of functions that are there when init memory is gone. The linker leaves zeroes for functions that it dropped. */
function fentrySites(kernel: LinkedKernel, marks: Marks): Uint32Array {
  const start = marks.at('__start_mcount_loc');
  const bytes = kernel.read(start, marks.at('__stop_mcount_loc') - start);
  if (!bytes) throw kernel.error('its table of fentry sites is not in the file');
  const [initBegin, initEnd] = [marks.at('__init_begin'), marks.at('__init_end')];
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const sites: number[] = [];
  for (let at = 0; at + 8 <= bytes.length; at += 8) {
    const low = view.getUint32(at, true);
    if (low !== 0 && !(low >= initBegin && low < initEnd)) sites.push(low);
  }
  return Uint32Array.from(sites).sort();
}

function orcOf(kernel: LinkedKernel, { orcHash }: KernelDescription, arch: Arch): OrcTable {
  const [ip, orc] = [kernel.section('.orc_unwind_ip'), kernel.section('.orc_unwind')];
  if (!ip || !orc) throw kernel.error('it has no ORC tables: it was built without CONFIG_UNWINDER_ORC');
  const layout = arch.code?.orc.byHash(orcHash);
  if (!layout) throw kernel.error(`its ORC tables are of a format that is not known (${orcHash})`);
  return orcTableFromSections(kernel.data(ip), high(ip.start), kernel.data(orc), layout);
}
