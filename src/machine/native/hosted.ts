// Which symbols of the machine's own text and data stand for those of a real kernel, and how.
//
// A function of both is *hosted*: the real one's entry jumps to ours, and the symbol's address is ours, so that there is
// one live body whoever calls it. A few are *native*: what refers to ours goes to the real one. Data that both have is the
// real kernel's, with what ours begins with, so that native and hosted code see one of it.
//
// Invariant: a name is one object or none; of a name that the real kernel has several times that one is taken which is
// said, or none.

import type { AsmImage, AsmSymbol } from '../../asm/assembler.ts';
import type { Addr } from '../../guest/addr.ts';
import type { KernelDescription } from '../../kernel/description.ts';
import type { NativeKernel } from './native_kernel.ts';

/**
 * Where tasks sleep until another one has done something. A kernel has more such functions than ours are (with a timeout,
 * killably, nested), on the same locks: all of them are its own, so that who takes a lock or wakes goes by the one list of
 * those who wait, under its spinlock.
 */
const SLEEPING_LOCKS = [
  'mutex_lock mutex_lock_interruptible mutex_trylock mutex_unlock __mutex_lock_slowpath __mutex_unlock_slowpath',
  'complete complete_all wait_for_completion wait_for_completion_interruptible wait_for_completion_state',
  '__init_waitqueue_head init_wait_entry add_wait_queue add_wait_queue_exclusive remove_wait_queue prepare_to_wait',
  'prepare_to_wait_exclusive prepare_to_wait_event finish_wait __wake_up __wake_up_locked __wake_up_common',
  'default_wake_function autoremove_wake_function',
].flatMap((names) => names.split(' '));
/** Functions of both of which the real one runs. */
const NATIVE_FUNCTIONS: ReadonlySet<string> = new Set([
  ...SLEEPING_LOCKS,
  'cmdline_proc_show',
  'version_proc_show',
  '__cond_resched',
  'klp_cond_resched',
  '__klp_sched_try_switch',
  'sched_dynamic_klp_enable',
  'sched_dynamic_klp_disable',
  '__static_call_return0',
  'uptime_proc_show',
  'meminfo_proc_show',
  // lib/string.c, lib/kstrtox.c, lib/vsprintf.c, and what of printk.c is around vprintk_emit()
  ...[
    'memcmp memmove memset memcpy strchr strcmp strcpy strlcpy strlen strncmp strncpy strnlen strrchr strscpy',
    '_find_next_bit _kstrtol _kstrtoul kstrtobool kstrtoint kstrtoll kstrtos16 kstrtos8 kstrtou16 kstrtou8 kstrtouint',
    'kstrtoull simple_strtol simple_strtoll simple_strtoul simple_strtoull sscanf vsscanf snprintf sprintf scnprintf',
    'vscnprintf vsprintf vsnprintf _printk _printk_deferred vprintk __warn_printk',
    // mm/util.c, lib/kasprintf.c, lib/list_debug.c, of fs/sysfs/file.c what show() calls
    'kstrdup kstrdup_const kstrndup kmemdup kmemdup_nul kfree_const kasprintf kvasprintf __list_add_valid',
    '__list_del_entry_valid sysfs_emit sysfs_emit_at',
    // kernel/params.c: types but for arrays, which need the lock of parameters
    ...[
      'byte',
      'short',
      'ushort',
      'int',
      'uint',
      'long',
      'ulong',
      'ullong',
      'hexint',
      'bool',
      'invbool',
      'charp',
    ].map((type) => `param_get_${type} param_set_${type}`),
    'param_free_charp param_get_string param_set_copystring',
    // kernel/time/sleep_timeout.c: later kernels sleep a jiffy less
    'msleep msleep_interruptible',
    // fs/seq_file.c
    '__seq_open_private seq_escape_mem seq_list_next seq_list_start_head seq_lseek seq_open seq_open_private seq_pad',
    'seq_printf seq_put_decimal_ll seq_put_decimal_ull seq_put_decimal_ull_width seq_put_hex_ll seq_putc seq_puts',
    'seq_read seq_read_iter seq_release seq_release_private seq_vprintf seq_write single_next single_open',
    'single_open_size single_release single_stop',
  ].flatMap((names) => names.split(' ')),
]);
/** What fentry sites call on disk, and trampolines of static calls whose keys are the real kernel's. */
const NATIVE_CODE: ReadonlySet<string> = new Set([
  '__fentry__',
  '__SCT__cond_resched',
  '__SCT__might_resched',
  '__WARN_trap',
]);
/** Data of which the real one is kept as the kernel's own boot left it. */
export const NATIVE_DATA: ReadonlySet<string> = new Set([
  '__SCK__cond_resched',
  'preempt_dynamic_mode',
  '__start_static_call_tramp_key',
  '__stop_static_call_tramp_key',
]);
/**
 * Static functions that the real kernel has several of by their names: beside which other symbol of the same .c file the
 * one is that ours stands for.
 */
const BESIDE: ReadonlyMap<string, string> = new Map([
  ['enabled_show', 'klp_enable_patch'],
  ['enabled_store', 'klp_enable_patch'],
  ['force_store', 'klp_enable_patch'],
  ['m_show', 'modules_open'],
  ['s_show', 'kallsyms_open'],
  ['proc_single_open', 'proc_seq_open'],
  ['default_read_file', 'debugfs_create_u8'],
  ['default_write_file', 'debugfs_create_u8'],
]);
/**
 * Functions of ours that later kernels have by another name, with the same arguments by their types (BTF): seen in 6.12.117
 * and 7.3.4. There ours has that name.
 */
const LATER_NAMES: ReadonlyMap<string, string> = new Map([
  // 6.10, allocation profiling
  ['__kmalloc', '__kmalloc_noprof'],
  ['__kmalloc_node', '__kmalloc_node_noprof'],
  ['__kmalloc_node_track_caller', '__kmalloc_node_track_caller_noprof'],
  ['kvmalloc_node', '__kvmalloc_node_noprof'],
  ['kmem_cache_alloc_lru', 'kmem_cache_alloc_lru_noprof'],
  ['kmem_cache_alloc_node', 'kmem_cache_alloc_node_noprof'],
  ['kmem_cache_alloc_bulk', 'kmem_cache_alloc_bulk_noprof'],
  ['vmalloc_node', 'vmalloc_node_noprof'],
  ['vzalloc_node', 'vzalloc_node_noprof'],
  ['__vmalloc_node', '__vmalloc_node_noprof'],
  ['__vmalloc_node_range', '__vmalloc_node_range_noprof'],
  ['pcpu_alloc', 'pcpu_alloc_noprof'],
  ['__alloc_pages', '__alloc_pages_noprof'],
  // 6.14, of pages without a count: seen in 7.3.4
  ['__alloc_frozen_pages', '__alloc_frozen_pages_noprof'],
  // 6.13, for workqueues' locks: seen in 7.3.4
  ['alloc_workqueue', 'alloc_workqueue_noprof'],
  ['kmalloc_trace', '__kmalloc_cache_noprof'],
  ['kmalloc_node_trace', '__kmalloc_cache_node_noprof'],
  ['kmalloc_large', '__kmalloc_large_noprof'],
  ['kmalloc_large_node', '__kmalloc_large_node_noprof'],
  ['kmem_cache_alloc', 'kmem_cache_alloc_noprof'],
  ['kmemdup', 'kmemdup_noprof'],
  ['krealloc', 'krealloc_noprof'],
  ['krealloc_node_align', 'krealloc_node_align_noprof'],
  ['vmalloc', 'vmalloc_noprof'],
  ['vzalloc', 'vzalloc_noprof'],
  ['__vmalloc', '__vmalloc_noprof'],
  ['__get_free_pages', 'get_free_pages_noprof'],
  ['get_zeroed_page', 'get_zeroed_page_noprof'],
  // 6.6: the check itself is inline, and what is left is asked again
  ['__list_add_valid', '__list_add_valid_or_report'],
  ['__list_del_entry_valid', '__list_del_entry_valid_or_report'],
  // 6.8
  ['seq_puts', '__seq_puts'],
  ['strscpy', 'sized_strscpy'],
  // 6.15
  ['init_timer_key', 'timer_init_key'],
]);

/**
 * Per-CPU data of ours that kernels have inside of another object, or by another name: the first of these that a kernel
 * has. `less`: what of ours comes before it. Where none is there it is the one of the same name.
 */
const PERCPU_PLACES: Readonly<Record<string, readonly PerCpuPlace[]>> = {
  // struct pcpu_hot: 6.2 to 6.14.
  current_task: [{ symbol: 'pcpu_hot', member: 'current_task' }],
  __preempt_count: [{ symbol: 'pcpu_hot', member: 'preempt_count' }],
  cpu_number: [{ symbol: 'pcpu_hot', member: 'cpu_number' }],
  cpu_current_top_of_stack: [{ symbol: 'pcpu_hot', member: 'top_of_stack' }],
  // Of 16 bits, and behind it a flag that only code of hosted functions looks at; a variable of its own from 6.15 on.
  irq_stat: [{ symbol: 'pcpu_hot', member: 'softirq_pending' }, { symbol: '__softirq_pending' }],
  // From 6.15 on the canary is where the kernel likes.
  fixed_percpu_data: [{ symbol: '__stack_chk_guard', less: 40 }],
};

interface PerCpuPlace {
  readonly symbol: string;
  readonly member?: keyof NonNullable<KernelDescription['structs']['pcpu_hot']>['fields'];
  readonly less?: number;
}

/** Marks where text begins and ends, which are no functions. */
const MARK = /_(?:start|end)$/;
/** jmp rel32 */
const JUMP_SIZE = 5;
const PERCPU = '.data..percpu';
const WRITABLE: ReadonlySet<string> = new Set(['.data', '.bss', PERCPU]);

interface NativeSymbol {
  readonly addr: Addr;
  readonly size: number;
  readonly isPercpu: boolean;
}

export interface Hosting {
  /** Symbols that are where the real kernel has them, by name. */
  readonly places: ReadonlyMap<string, Addr>;
  /** Functions whose real entry jumps to ours: of each where that is. */
  readonly jumps: ReadonlyMap<string, Addr>;
  /** Names that the real kernel has for functions of ours, where they are others. */
  readonly names: ReadonlyMap<string, string>;
  /** Addresses of real symbols, by name, that ours are instead: of what is jumped away from, and of data that is ours alone. */
  readonly ours: ReadonlyMap<string, Addr>;
  /** Bytes of the real functions that are jumped away from, by address. */
  readonly replaced: readonly { readonly addr: Addr; readonly size: number }[];
}

/** @param image ours, in any place */
export function hostingOf(image: AsmImage, native: NativeKernel, { structs }: KernelDescription): Hosting {
  const unique = uniqueSymbols(native, namesAskedFor(image));
  const places = new Map<string, Addr>();
  const jumps = new Map<string, Addr>();
  const ours = new Map<string, Addr>();
  const replaced: { addr: Addr; size: number }[] = [];
  const names = new Map<string, string>();
  const counts = new Map<string, number>();
  for (const { name } of image.symbols) counts.set(name, (counts.get(name) ?? 0) + 1);
  for (const symbol of image.symbols) {
    const inside = symbol.section === PERCPU ? percpuPlace(symbol.name, unique, structs) : undefined;
    if (inside !== undefined) {
      places.set(symbol.name, inside);
      continue;
    }
    const name = unique.has(symbol.name) ? symbol.name : (LATER_NAMES.get(symbol.name) ?? symbol.name);
    const real = unique.get(name);
    if (!real || counts.get(symbol.name) !== 1) continue;
    if (name !== symbol.name) names.set(symbol.name, name);
    if (NATIVE_DATA.has(symbol.name)) places.set(symbol.name, real.addr);
    else if (isData(symbol)) {
      if (real.isPercpu === (symbol.section === PERCPU) && symbol.size <= real.size)
        places.set(symbol.name, real.addr);
    } else if (isFunction(symbol)) {
      if (NATIVE_FUNCTIONS.has(symbol.name) || NATIVE_CODE.has(symbol.name))
        places.set(symbol.name, real.addr);
      else if (real.size >= JUMP_SIZE) {
        jumps.set(symbol.name, real.addr);
        replaced.push({ addr: real.addr, size: real.size });
      }
    }
  }
  for (const { name, section } of image.symbols) {
    const isKernel = !section.startsWith('.user') && section !== PERCPU;
    const there = names.get(name) ?? name;
    const real = unique.get(there);
    if (isKernel && real && !places.has(name)) ours.set(there, real.addr);
  }
  replaced.sort((a, b) => (a.addr < b.addr ? -1 : 1));
  return { places, jumps, names, ours, replaced };
}

function percpuPlace(
  name: string,
  unique: ReadonlyMap<string, NativeSymbol>,
  { pcpu_hot }: KernelDescription['structs'],
): Addr | undefined {
  for (const { symbol, member, less = 0 } of PERCPU_PLACES[name] ?? []) {
    const object = unique.get(symbol);
    const offset = member === undefined ? 0 : pcpu_hot?.fields[member];
    if (object && offset !== undefined) return object.addr + BigInt(offset - less);
  }
  return undefined;
}

/** Labels, as of a name for another one's first word, count as what they stand in. */
const isData = ({ section, name, global }: AsmSymbol): boolean =>
  WRITABLE.has(section) && global && !name.startsWith('__bug_table_') && !name.startsWith('__ex_table_');

const isFunction = ({ section, type, name }: AsmSymbol): boolean =>
  section === '.text' && (type === 'func' || type === 'code') && !MARK.test(name);

/** The names by which the real kernel could have what ours are for. */
function namesAskedFor(image: AsmImage): ReadonlySet<string> {
  return new Set([
    ...image.symbols.map(({ name }) => name),
    ...LATER_NAMES.values(),
    ...[...BESIDE].flat(),
    ...Object.values(PERCPU_PLACES).flatMap((places) => places.map(({ symbol }) => symbol)),
  ]);
}

/** By name, of those that are asked for the ones of which there is one, or one of several that BESIDE tells. */
function uniqueSymbols(native: NativeKernel, wanted: ReadonlySet<string>): ReadonlyMap<string, NativeSymbol> {
  const several = new Map<string, readonly number[]>();
  const found = new Map<string, NativeSymbol>();
  for (const name of wanted) {
    const numbers = native.symbols.names.numbers(name);
    if (numbers.length === 1) found.set(name, symbolAt(native, numbers[0]));
    else if (numbers.length > 1) several.set(name, numbers);
  }
  for (const [name, beside] of BESIDE) {
    const anchor = found.get(beside);
    const all = several.get(name)?.map((i) => symbolAt(native, i)) ?? [];
    const distance = ({ addr }: NativeSymbol): number => Math.abs(Number(addr - (anchor?.addr ?? 0n)));
    if (anchor && all.length > 0)
      found.set(
        name,
        all.reduce((a, b) => (distance(b) < distance(a) ? b : a)),
      );
  }
  return found;
}

/** Its size reaches to the next address that has a symbol. */
function symbolAt(
  { symbols: { low, high, types }, percpu, percpuStart }: NativeKernel,
  i: number,
): NativeSymbol {
  let next = i + 1;
  while (next < low.length && low[next] === low[i] && high[next] === high[i]) next++;
  const size = next < low.length && high[next] === high[i] ? low[next] - low[i] : 0;
  const addr = (BigInt(high[i]) << 32n) | BigInt(low[i]);
  const isPercpu =
    percpuStart === 0n
      ? isAbsolute(types[i]) && high[i] === 0
      : addr >= percpuStart && addr < percpuStart + BigInt(percpu.length);
  return { addr, size, isPercpu };
}

const isAbsolute = (type: number): boolean => type === 'A'.charCodeAt(0) || type === 'a'.charCodeAt(0);
