// Debian's kernels describe themselves: what the machine asks of 6.1 its own types answer as its headers do.

import { readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { X86_64 } from '../../src/arch/x86_64/x86_64.ts';
import { describeFile } from '../../src/kernel/describe.ts';
import { BUILT_IN, type KernelDescription } from '../../src/kernel/description.ts';
import { SHORTENED } from '../../src/kernel/private_layout.ts';
import { payloadOf } from '../../src/vmlinuz/bzimage.ts';
import { LinkedKernel } from '../../src/vmlinuz/linked_kernel.ts';
import { DEBIAN_KERNELS, vmlinuzOf } from '../vmlinuz/debian_kernels.ts';

function describeVmlinuz(file: string) {
  const kernel = payloadOf(readFileSync(file), file).unpack();
  return describeFile(new LinkedKernel(kernel, file, X86_64.elf));
}

/** Every row by its name. */
function rowsOf({ structs, constants, release, vermagic }: KernelDescription): Map<string, unknown> {
  const rows = new Map<string, unknown>(Object.entries({ release, vermagic, ...constants }));
  for (const [name, struct] of Object.entries(structs)) {
    if (Object.keys(struct).includes('size')) rows.set(`sizeof ${name}`, struct.size);
    for (const [field, value] of Object.entries({ ...struct.fields, ...struct.bitfields }))
      rows.set(`${name}.${field}`, value);
  }
  return rows;
}

/** Names of the rows of the built-in description as a test compares them. */
const BUILT_IN_ROWS = rowsOf(BUILT_IN);

describe.each(['6.1', '6.12', '7.3'] as const)('the kernel description of Debian %s', (series) => {
  const file = vmlinuzOf(series);

  it.skipIf(!file)('has every row of the built-in one, or names it as absent', () => {
    const { description, absent } = describeVmlinuz(file as string);
    const rows = rowsOf(description);
    expect(description.release).toBe(DEBIAN_KERNELS[series].release);
    const missing = [...BUILT_IN_ROWS.keys()].filter((name) => !rows.has(name));
    expect(missing).toEqual([...absent].sort(byTable));
    expect(absent).toEqual(ABSENT[series]);
  });

  it.skipIf(!file || series !== '6.1')(
    'is the built-in one, row for row, but for those that are shortened',
    () => {
      const rows = rowsOf(describeVmlinuz(file as string).description);
      const other = [...BUILT_IN_ROWS]
        .filter(([name, value]) => !equal(rows.get(name), value))
        .map(([name]) => name);
      expect(other).toEqual(SHORTENED);
    },
  );

  it.skipIf(!file)('has what the built-in one has not as far as the kernel has it', () => {
    const rows = rowsOf(describeVmlinuz(file as string).description);
    expect([...rows.keys()].filter((name) => !BUILT_IN_ROWS.has(name))).toEqual(LATER[series]);
  });
});

const order = new Map([...BUILT_IN_ROWS.keys()].map((name, i) => [name, i]));
const byTable = (a: string, b: string): number => (order.get(a) ?? 0) - (order.get(b) ?? 0);
const equal = (a: unknown, b: unknown): boolean => show(a) === show(b);
const show = (value: unknown): string =>
  JSON.stringify(value, (_, one) => (typeof one === 'bigint' ? `${one}` : one));

const MODULE_LAYOUT = [
  ...['core_layout', 'init_layout'].flatMap((layout) =>
    ['base', 'size', 'text_size', 'ro_size', 'ro_after_init_size'].map((name) => `module.${layout}_${name}`),
  ),
];
const MODULE_LAYOUT_ITSELF = ['sizeof module_layout', 'module_layout.base', 'module_layout.size'];
const PARAVIRT = ['sizeof paravirt_patch_site', 'paravirt_patch_site.type', 'paravirt_patch_site.len'];
const CONSTANTS = ['__GFP_ATOMIC', 'ALTINSTR_FLAG_INV'];

/** What later kernels do not have any more: each a difference that whoever uses the row has to know of. */
const ABSENT: Readonly<Record<string, readonly string[]>> = {
  '6.1': [],
  '6.12': [
    ...MODULE_LAYOUT,
    ...MODULE_LAYOUT_ITSELF,
    'iov_iter.user_backed',
    ...PARAVIRT,
    'orc_entry.end',
    ...CONSTANTS,
  ],
  '7.3': [
    'task_struct.thread_fpu_fpstate',
    'task_struct.thread_fpu___fpstate',
    'ftrace_ops.local_hash_regex_lock_wait_list',
    'module.num_gpl_syms',
    'module.gpl_syms',
    'module.gpl_crcs',
    ...MODULE_LAYOUT,
    'module.args',
    ...MODULE_LAYOUT_ITSELF,
    'mutex.wait_list',
    'seq_file.lock_wait_list',
    'file.f_count',
    'file.f_pos_lock_wait_list',
    'iov_iter.user_backed',
    'sizeof modversion_info',
    'modversion_info.crc',
    'modversion_info.name',
    ...PARAVIRT,
    'orc_entry.end',
    ...CONSTANTS,
  ],
};

const MEMORY = ['sizeof module_memory', 'module_memory.base', 'module_memory.size'];
const FPU = ['sizeof fpu', 'fpu.fpstate', 'fpu.__fpstate'];
const HOT = ['current_task', 'preempt_count', 'cpu_number', 'top_of_stack', 'softirq_pending'];

const TASK = [
  ...[
    'cred',
    'real_cred',
    'cgroups',
    'sighand',
    'thread_pid',
    'cpus_ptr',
    'cpus_mask',
    'migration_pending',
    'worker_private',
  ],
  ...['policy', 'prio', 'static_prio', 'normal_prio', 'rt_priority'],
].map((member) => `task_struct.${member}`);
const COUNTS = [
  ...['sizeof rq', 'rq.nr_running', 'sizeof kthread', 'kthread.flags', 'kthread.threadfn', 'kthread.data'],
  ...['sizeof pid_namespace', 'pid_namespace.idr'],
  ...['sizeof pglist_data', 'pglist_data.per_cpu_nodestats'],
  ...['sizeof page', 'page._refcount', 'page._mapcount'],
  ...['sizeof idr', 'idr.idr_next', 'sizeof cpuinfo_x86'],
  ...['clflush_size', 'cache_alignment', 'phys_bits', 'virt_bits'].map(
    (member) => `cpuinfo_x86.x86_${member}`,
  ),
];
const PROC_AND_DEBUGFS = ['proc_dir_entry.proc_iops', 'dentry.d_inode', 'dentry.d_parent'];
const KERNFS_ROOT = ['sizeof kernfs_root', 'kernfs_root.deactivate_waitq'];
const CACHE_ARGS = ['sizeof kmem_cache_args', 'kmem_cache_args.ctor'];

/** In the order of the structures. */
const LATER: Readonly<Record<string, readonly string[]>> = {
  '6.1': [...TASK, 'module.mkobj', 'file.f_path', ...PROC_AND_DEBUGFS, ...FPU, ...KERNFS_ROOT, ...COUNTS],
  '6.12': [
    ...TASK,
    'module.mem',
    'module.mkobj',
    'file.f_path',
    'alt_instr.flags',
    ...PROC_AND_DEBUGFS,
    ...MEMORY,
    ...FPU,
    ...KERNFS_ROOT,
    ...CACHE_ARGS,
    'sizeof pcpu_hot',
    ...HOT.map((member) => `pcpu_hot.${member}`),
    ...COUNTS,
  ],
  '7.3': [
    ...TASK,
    'module.mem',
    'module.flagstab',
    'module.mkobj',
    'file.f_ref',
    'file.f_path',
    'bug_entry.format_disp',
    'alt_instr.flags',
    ...PROC_AND_DEBUGFS,
    ...MEMORY,
    ...FPU,
    ...KERNFS_ROOT,
    ...CACHE_ARGS,
    ...COUNTS,
  ],
};
