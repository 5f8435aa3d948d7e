// A kernel as a patch's functions are looked for in it: its functions by name, as its own kallsyms has them, its text before
// anything of the machine's stands in it, its fentry sites, and its call graph.
//
// Invariant: nothing here is the machine's own where a real kernel is given.

import { readFileSync } from 'node:fs';
import { deserialize, serialize } from 'node:v8';
import type { CheckableArch } from '../arch/arch.ts';
import { type Calls, readCalls, type TextRun } from '../callgraph/calls.ts';
import type { GraphPart } from '../callgraph/graph.ts';
import { lo32 } from '../guest/addr.ts';
import { PROT_EXEC } from '../guest/memory.ts';
import type { KernelDescription } from '../kernel/description.ts';
import { loadKernelImage, loadRealImage } from '../machine/boot/image.ts';
import { keptKernels, keptName, type OpenedKernel, openKernel } from '../machine/native/cache.ts';
import { kernelPath } from '../machine/native/find.ts';
import { KernelFile } from '../vmlinuz/kernel_file.ts';

export interface KernelSymbol {
  readonly name: string;
  /** Low half. */
  readonly start: number;
  readonly size: number;
  /** nm's letter. */
  readonly type: string;
}

export interface KernelCode {
  readonly description: KernelDescription;
  /** A file, or ''. */
  readonly kernel: string;
  /** Functions and data, ascending. */
  readonly symbols: readonly KernelSymbol[];
  readonly runs: readonly TextRun[];
  /** Low halves of fentry sites. */
  readonly sites: ReadonlySet<number>;
  /** It is gone when the kernel has booted. */
  isInit(start: number): boolean;
  /** Low half of where the per-CPU variable is that points to the running task. */
  readonly current: number;
  readonly part: GraphPart;
  /** Where the machine's own functions are that stand for the kernel's, and where the kernel has those. */
  readonly aliases: ReadonlyMap<number, number>;
}

const TEXT = /^[tw]$/i;
/** What fills the room before a function, in later kernels. */
const PREFIX = /^__(?:pfx|cfi)_/;

/** @param kernel '' for the built-in one. @throws KernelFileError */
export async function kernelCode(kernel: string, arch: CheckableArch): Promise<KernelCode> {
  return kernel === '' ? builtIn(arch) : realKernel(kernel, arch);
}

async function builtIn(arch: CheckableArch): Promise<KernelCode> {
  const { asm, kernel: description } = await loadKernelImage('orc', undefined, arch);
  const text = asm.sections.find(({ name }) => name === '.text');
  const inText = asm.symbols.filter(({ section }) => section === '.text');
  const symbols = inText
    .map(({ name, addr, global, type, size }) => ({
      name,
      start: lo32(addr),
      size,
      type: global ? 'T' : 't',
      isFunction: type === 'func' || type === 'code',
    }))
    .sort((a, b) => a.start - b.start);
  const functions = symbols.filter(({ isFunction }) => isFunction);
  const runs = text ? [{ start: lo32(text.addr), bytes: text.bytes }] : [];
  const current = asm.symbols.find(({ name }) => name === 'current_task');
  const starts = [...new Set(functions.map(({ start }) => start))];
  return {
    description,
    kernel: '',
    symbols: functions,
    runs,
    sites: new Set(asm.fentrySites.map(lo32)),
    isInit: () => false,
    current: current ? lo32(current.addr) : -1,
    part: partOf(undefined, readCalls(arch.code, runs, starts), functions),
    aliases: new Map(),
  };
}

async function realKernel(kernel: string, arch: CheckableArch): Promise<KernelCode> {
  const opened = openKernel(kernel, arch);
  const { native, description, hash } = opened;
  const { low, high, types, names } = native.symbols;
  const symbols: KernelSymbol[] = [];
  const addressOf = (name: string): number | undefined => names.numbers(name).map((i) => low[i])[0];
  const current = addressOf('current_task') ?? addressOf('pcpu_hot') ?? -1;
  const [initBegin, initEnd] = [addressOf('__init_begin') ?? 0, addressOf('__init_end') ?? 0];
  for (let i = 0, next = 0; i < names.length; i++) {
    if (next <= i) for (next = i + 1; next < names.length && low[next] === low[i]; ) next++;
    const type = String.fromCharCode(types[i]);
    if (high[i] === 0 || !TEXT.test(type)) continue;
    const name = names.at(i);
    if (PREFIX.test(name)) continue;
    const size = next < names.length ? Math.max(0, low[next] - low[i]) : 0;
    symbols.push({ name, start: low[i], size, type });
  }
  const runs = native.segments
    .filter(({ protection }) => protection & PROT_EXEC)
    .map(({ start, content }) => ({ start: lo32(start), bytes: content.bytes() }));
  const starts = [...new Set(symbols.map(({ start }) => start))];
  const { calls, init } = keptCode(hash, arch.name, () => {
    const init = initText(kernelPath(kernel), arch);
    return { calls: readCalls(arch.code, [...runs, ...init], starts), init };
  });
  return {
    description,
    kernel,
    symbols,
    runs: [...runs, ...init],
    sites: new Set(native.fentrySites),
    isInit: (start) => start >= initBegin && start < initEnd,
    current,
    part: partOf(undefined, calls, symbols),
    aliases: await aliasesOf(opened, arch),
  };
}

async function aliasesOf(opened: OpenedKernel, arch: CheckableArch): Promise<ReadonlyMap<number, number>> {
  const { asm, real } = await loadRealImage(opened, arch, 'orc');
  const { jumps = new Map(), places = new Map() } = real?.hosting ?? {};
  const aliases = new Map<number, number>();
  for (const { name, addr, section } of asm.symbols) {
    const there = jumps.get(name) ?? places.get(name);
    if (section === '.text' && there !== undefined) aliases.set(lo32(addr), lo32(there));
  }
  return aliases;
}

/** @param symbols ascending; of several at one address the first has its name */
export function partOf(
  module: string | undefined,
  calls: Calls,
  symbols: readonly { readonly name: string; readonly start: number }[],
): GraphPart {
  const names = new Map<number, string>();
  for (const { name, start } of symbols) if (!names.has(start)) names.set(start, name);
  return { module, calls, nameAt: (start) => names.get(start) ?? `0x${start.toString(16)}` };
}

/** Of a kernel that has booted it is gone: who made the threads that are there was in it. */
function initText(file: string, { elf, code }: CheckableArch): TextRun[] {
  const { kernel } = new KernelFile(new Uint8Array(readFileSync(file)), file, { elf, code });
  const section = kernel.section('.init.text');
  return section ? [{ start: section.start, bytes: kernel.data(section).slice() }] : [];
}

/** What is kept of a kernel. */
interface KeptCode {
  readonly calls: Calls;
  readonly init: readonly TextRun[];
}

/** From the cache, or made and put there. */
function keptCode(hash: string, port: string, make: () => KeptCode): KeptCode {
  const name = keptName(hash, port, 'calls');
  const bytes = keptKernels.read(name);
  if (bytes) return deserialize(bytes) as KeptCode;
  const kept = make();
  keptKernels.write(name, [serialize(kept)]);
  return kept;
}
