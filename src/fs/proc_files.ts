// The entries of /proc that the kernel itself makes. Mirrors fs/proc/{cmdline,meminfo,version,uptime}.c,
// kernel/module/procfs.c, kernel/kallsyms.c, kernel/sysctl.c.

import type { Addr } from '../guest/addr.ts';
import { PAGE_SHIFT, PAGE_SIZE } from '../guest/memory.ts';
import type { KernelCore } from '../kernel/core.ts';
import { writeCut } from '../kernel/lib.ts';
import { procUnsignedLong } from '../kernel/proc_vec.ts';
import { SymbolLines } from '../kernel/symbol_lines.ts';
import type { FsContext } from './context.ts';
import { printkSysctl } from './printk_sysctl.ts';
import type { ProcTree } from './proc_tree.ts';
import type { SeqFiles } from './seq_file.ts';
import type { Sysctls } from './sysctl.ts';

/** What the kernel's entries show that other subsystems know. */
export interface ProcTexts {
  /** /proc/modules */
  modules?(): string;
  /** Time that the CPUs were idle, ns. */
  idleNs?(): number;
  /** Init functions of modules that ftrace remembers, for /proc/kallsyms. */
  initFunctions?(): readonly { readonly name: string; readonly addr: Addr; readonly module: string }[];
  /** Trampolines that ftrace has made, for /proc/kallsyms. */
  trampolines?(): readonly Addr[];
}

const KB = 1024n;

/** Makes the entries, and writes what guest code shows of them. */
export function makeProcFiles(
  fs: FsContext,
  parts: { proc: ProcTree; seq: SeqFiles; sysctls: Sysctls },
  texts: ProcTexts,
  commandLine: string,
): void {
  const { proc, seq, sysctls } = parts;
  const { core, mem } = fs;
  writeCut(mem, fs.symbol('saved_command_line_text'), 2048n, commandLine);
  writeCut(mem, fs.symbol('utsname_release'), 65n, core.kernel.release);
  writeCut(mem, fs.symbol('utsname_version'), 65n, '#1 SMP PREEMPT_DYNAMIC');
  const show = (name: string, textOf: () => string): void => {
    core.host.define(name, ({ args }) => {
      seq.write(args[0], textOf());
      return 0;
    });
  };
  show('uptime_proc_show', () => `${seconds(core.clock.now())} ${seconds(texts.idleNs?.() ?? 0)}\n`);
  show('m_show', () => texts.modules?.() ?? '');
  core.host.define('s_show', ({ args }) => {
    // It is asked anew for each size of the buffer: what cannot fit is not made.
    const fits = core.symbols.imageCount * SHORTEST_SYMBOL < seq.size(args[0]);
    seq.write(args[0], fits ? kallsymsText(core, texts) : undefined);
    return 0;
  });
  defineMemory(fs);
  proc.createSingle('cmdline', 'cmdline_proc_show');
  proc.createSingle('meminfo', 'meminfo_proc_show', { permanent: true });
  proc.createSingle('version', 'version_proc_show', { permanent: true });
  proc.createSingle('uptime', 'uptime_proc_show', { permanent: true });
  proc.createSingle('modules', 'm_show', { ops: 'modules_proc_ops' });
  proc.createSingle('kallsyms', 's_show', { ops: 'kallsyms_proc_ops' });
  printkSysctl(sysctls, core, commandLine);
  sysctls.add('kernel/tainted', {
    mode: 0o644,
    read: () => String(core.taints),
    write: (text) => addTaint(core, text),
  });
  sysctls.add('kernel/ostype', { mode: 0o444, read: () => 'Linux' });
  sysctls.add('kernel/osrelease', { mode: 0o444, read: () => core.kernel.release });
}

/** `12.34` of ns. */
function seconds(ns: number): string {
  const hundredths = Math.floor(ns / 1e7);
  return `${Math.floor(hundredths / 100)}.${String(hundredths % 100).padStart(2, '0')}`;
}

/** proc_taint(): bits can be added, not taken away. */
function addTaint(core: KernelCore, text: string): number {
  const written = procUnsignedLong(text);
  if (typeof written === 'number') return written;
  core.taints |= Number(written.value % (1n << BigInt(core.kernel.constants.TAINT_FLAGS_COUNT)));
  return written.consumed;
}

/** Bytes of a line of /proc/kallsyms: address, letter, a name of one character. */
const SHORTEST_SYMBOL = 21;
/** As many as most have at most. */
const USUAL_SYMBOL = 56;

/** Symbols of the image and of modules, then ftrace_mod_get_kallsym(): init functions that are gone, trampolines of ftrace. */
function kallsymsText(core: KernelCore, texts: ProcTexts): Uint8Array {
  const lines = new SymbolLines(core.symbols.imageCount * USUAL_SYMBOL);
  core.symbols.show(lines);
  for (const { addr, name, module } of texts.initFunctions?.() ?? [])
    lines.add(addr, 'T', `${name}\t[${module}]`);
  for (const addr of texts.trampolines?.() ?? [])
    lines.add(addr, 't', 'ftrace_trampoline\t[__builtin__ftrace]');
  return lines.bytes;
}

/** si_meminfo(), si_swapinfo(), and si_mem_extra() for the words behind it in meminfo_proc_show()'s frame. */
function defineMemory(fs: FsContext): void {
  const { core, mem } = fs;
  const sysinfo = core.kernel.structs.sysinfo.fields;
  const put = (base: Addr, offset: number, value: bigint): void => mem.writeU64(base + BigInt(offset), value);
  const total = BigInt(mem.geometry.heap);
  const pages = (bytes: bigint): bigint => bytes >> BigInt(PAGE_SHIFT);
  const stackPages = (): bigint =>
    BigInt(core.tasks.size + core.cpus) * BigInt(core.kernel.constants.THREAD_SIZE);
  core.host.defineAll({
    si_meminfo: ({ args }) => {
      const free = pages(total - BigInt(core.slab.used()));
      // NR_FREE_PAGES, by which si_mem_available() of a real kernel goes behind it.
      const counts = core.symbols.lookupName('vm_zone_stat');
      if (counts !== undefined) put(counts, 0, free);
      put(args[0], sysinfo.totalram, pages(total));
      put(args[0], sysinfo.freeram, free);
      put(args[0], sysinfo.sharedram, 0n);
      put(args[0], sysinfo.bufferram, 0n);
      mem.writeU32(args[0] + BigInt(sysinfo.mem_unit), PAGE_SIZE);
    },
    si_swapinfo: ({ args }) => {
      put(args[0], sysinfo.totalswap, 0n);
      put(args[0], sysinfo.freeswap, 0n);
    },
    // available, slab, kernel stacks (kB), committed, per-CPU: pages
    si_mem_extra: ({ args }) => {
      const used = BigInt(core.slab.used());
      const perCpu = BigInt(core.cpus) * BigInt(Math.max(core.kernel.structs.task_struct.size, PAGE_SIZE));
      const values = [pages(total - used), pages(used), stackPages() / KB, pages(used), pages(perCpu)];
      for (const [i, value] of values.entries()) put(args[0], i * 8, value);
    },
  });
}
