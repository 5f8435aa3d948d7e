// Structures and constants that the kernel keeps to one of its .c files or internal headers, and a few of ours that
// guest code and src/ share: part of the built-in description, beside what the headers say (layout.ts).
//
// The numbers are those of 6.1 where real code could come upon them, and as much of a structure as is kept: of some
// the size is less than the kernel's.

import { LAYOUT } from './layout.ts';

export const PRIVATE_LAYOUT = {
  /** kernel/livepatch/patch.h */
  klp_ops: {
    size: 32 + LAYOUT.ftrace_ops.size,
    fields: { node: 0, func_stack: 16, fops: 32 },
    bitfields: {},
  },
  /** kernel/livepatch/shadow.c; the node is first: a bucket of klp_shadow_hash leads to the structure itself. */
  klp_shadow: {
    size: 48,
    fields: { node: 0, node_next: 0, node_pprev: 8, rcu_head: 16, obj: 32, id: 40, data: 48 },
    bitfields: {},
  },
  /** include/linux/livepatch_external.h, which patch modules of klp-build have since 6.19 */
  klp_object_ext: { size: 64, fields: { name: 0, funcs: 8, callbacks: 16, nr_funcs: 56 }, bitfields: {} },
  klp_func_ext: { size: 24, fields: { old_name: 0, new_func: 8, sympos: 16 }, bitfields: {} },
  /** Of kpatch, kmod/patch/kpatch-patch.h; its callbacks, of whatever name, have one form. */
  kpatch_patch_func: { size: 56, fields: { new_addr: 0, sympos: 32, name: 40, objname: 48 }, bitfields: {} },
  kpatch_callback: { size: 16, fields: { callback: 0, objname: 8 }, bitfields: {} },
  /** kernel/trace/trace.h */
  ftrace_hash: { size: 48, fields: { size_bits: 0, buckets: 8, count: 16 }, bitfields: {} },
  /** fs/proc/internal.h: vfs_inode ends it. */
  proc_inode: { size: 72, fields: { pid: 0, op: 16, pde: 24, vfs_inode: 72 }, bitfields: {} },
  /** fs/proc/internal.h; the size is SIZEOF_PDE: the structure and room for a short name. */
  proc_dir_entry: {
    size: 192,
    fields: {
      in_use: 0,
      refcnt: 4,
      pde_openers: 8,
      pde_unload_completion: 32,
      proc_ops: 48,
      seq_ops: 64,
      single_show: 64,
      write: 72,
      data: 80,
      state_size: 88,
      low_ino: 92,
      nlink: 96,
      uid: 100,
      gid: 104,
      size: 112,
      parent: 120,
      name: 160,
      mode: 168,
      flags: 170,
      namelen: 171,
      inline_name: 172,
    },
    bitfields: {},
  },
  /** include/linux/kernfs.h, without what writes of more than a page need. */
  kernfs_open_file: { size: 128, fields: { kn: 0, file: 8, seq_file: 16, mutex: 32 }, bitfields: {} },
  /** include/linux/dcache.h: an address to hand out, no more. */
  dentry: { size: 192, fields: {}, bitfields: {} },
  /** include/linux/fs.h: what open needs of it, and the name behind that. */
  filename: { size: 16, fields: { name: 0, iname: 16 }, bitfields: {} },
  /** Ours, in the place of fs/debugfs/internal.h's: a file's own functions, who is in them, who waits for them. */
  debugfs_fsdata: { size: 24, fields: { real_fops: 0, active_users: 8, drained: 16 }, bitfields: {} },
  /** include/linux/slub_def.h */
  kmem_cache: { size: 256, fields: { size: 24, object_size: 28 }, bitfields: {} },
  /** Ours: a transition that holds the gate (0 or 1), loads and unloads that hold it. */
  klp_gate: { size: 8, fields: { transition: 0, loads: 4 }, bitfields: {} },
  /** Ours: what kthread() is handed. */
  kthread_create_info: { size: 16, fields: { threadfn: 0, data: 8 }, bitfields: {} },
} as const;

/** No kernel's, or in the tables of modules for any: they are what they are in every description. */
export const OUR_STRUCTS: ReadonlySet<string> = new Set([
  'debugfs_fsdata',
  'klp_gate',
  'kthread_create_info',
  'klp_object_ext',
  'klp_func_ext',
  'kpatch_patch_func',
  'kpatch_callback',
]);

/** Of which the built-in description keeps less than 6.1 has, or has it elsewhere. */
export const SHORTENED: readonly string[] = [
  'sizeof proc_inode',
  'sizeof kernfs_open_file',
  'sizeof filename',
  'filename.iname',
  'sizeof kmem_cache',
];

export const PRIVATE_CONSTANTS = {
  /** include/linux/proc_fs.h: 0 for a module. */
  PROC_ENTRY_PERMANENT: 1,
  /** fs/proc/internal.h */
  PROC_ENTRY_proc_read_iter: 2,
  PROC_ENTRY_proc_lseek: 8,
  /** fs/proc/inode.c: what remove_proc_entry() adds to in_use; negative from then on. */
  PDE_BIAS: -0x80000000,
  /** Ours: what removal adds to active_users. */
  DEBUGFS_REMOVED: -0x80000000,
  /** kernel/livepatch/shadow.c */
  KLP_SHADOW_HASH_BITS: 12,
  /** arch/x86/include/asm/ibt.h, gen_endbr_poison(): a nop of four bytes in the place of an endbr64. */
  SEALED_ENTRY: 0x1f0f66,
} as const;

/** Of files that no types come from: ours, and two that the kernel keeps to a .c file. */
export const OUR_CONSTANTS: ReadonlySet<string> = new Set([
  'PDE_BIAS',
  'DEBUGFS_REMOVED',
  'KLP_SHADOW_HASH_BITS',
]);
