// Members and structures that kernels later than the built-in one have, where something moved or changed its kind: who
// reads them goes by the one that is there.
//
// Each with the release from which it holds, read in its sources and seen in the types of Debian's 6.12.117 and 7.3.4.

/** Of structures that the built-in description has, too. */
export const LATER_MEMBERS = {
  /** 6.3: what an entry asks for has flags of its own, and rows have 14 bytes. */
  alt_instr: ['flags'],
  /**
   * 6.4: memory by kinds (module_memory), in the place of core_layout and init_layout. 7.x: which exports are
   * GPL's is in a table of its own. Of any release: its struct module_kobject.
   */
  module: ['mem', 'flagstab', 'mkobj'],
  /** 6.19: the format of a WARN() that is a trap with arguments. */
  bug_entry: ['format_disp'],
  /** Of any release, for a real kernel's own functions: in init_fs, with init_cred, in init_css_set, init_signals. */
  task_struct: [
    ...([
      'cred',
      'real_cred',
      'cgroups',
      'sighand',
      'thread_pid',
      'cpus_ptr',
      'cpus_mask',
      'migration_pending',
    ] as const),
    ...(['worker_private', 'policy', 'prio', 'static_prio', 'normal_prio', 'rt_priority'] as const),
  ],
  /** Of any release: whether a directory of /proc is one for good. */
  proc_dir_entry: ['proc_iops'],
  /** 6.13: a count of those who use a file that is one less than them. Of any release: where it is opened. */
  file: ['f_ref', 'f_path'],
  /** Of any release: what a real kernel's own functions look at in a directory of debugfs. */
  dentry: ['d_inode', 'd_parent'],
} as const;

/** Whole ones, with the members that are asked for. */
export const LATER_STRUCTS = {
  /** 6.4 */
  module_memory: ['base', 'size'],
  /** Behind a task from 6.16 on, and not in its thread_struct. */
  fpu: ['fpstate', '__fpstate'],
  /** In a real kernel of any release: by what its kernfs_drain() waits. */
  kernfs_root: ['deactivate_waitq'],
  /** 6.7: the last argument of what makes a cache. */
  kmem_cache_args: ['ctor'],
  /** 6.2 to 6.14: what is hot of a CPU's data in one object. */
  pcpu_hot: ['current_task', 'preempt_count', 'cpu_number', 'top_of_stack', 'softirq_pending'],
  /** Of every kernel; only native functions look there. */
  rq: ['nr_running'],
  kthread: ['flags', 'threadfn', 'data'],
  pid_namespace: ['idr'],
  pglist_data: ['per_cpu_nodestats'],
  page: ['_refcount', '_mapcount'],
  idr: ['idr_next'],
  cpuinfo_x86: ['x86_clflush_size', 'x86_cache_alignment', 'x86_phys_bits', 'x86_virt_bits'],
} as const;

type Members<Table, Name> = Name extends keyof Table
  ? Table[Name] extends readonly (infer Member extends string)[]
    ? { readonly [M in Member]?: number }
    : never
  : object;

/** The later members of a structure of the built-in description. */
export type LaterMembers<Name> = Members<typeof LATER_MEMBERS, Name>;

export type LaterStructs = {
  readonly [Name in keyof typeof LATER_STRUCTS]?: {
    readonly size: number;
    readonly fields: { readonly [M in (typeof LATER_STRUCTS)[Name][number]]: number };
    readonly bitfields: object;
  };
};
