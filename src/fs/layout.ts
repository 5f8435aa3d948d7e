// Structures that the kernel's headers keep to fs/, as offsets in bytes, and allocation of files.
// Mirrors fs/proc/internal.h, include/linux/{fdtable,kernfs}.h, fs/kernfs/kernfs-internal.h. The same
// numbers stand in asm/x86_64/fs/fs.inc for guest code.

export const FMODE = {
  READ: 1,
  WRITE: 2,
  LSEEK: 4,
  PREAD: 8,
  PWRITE: 0x10,
  ATOMIC_POS: 0x8000,
} as const;

export const O_ACCMODE = 3;
export const O_DIRECTORY = 0o200000;

/** struct fdtable, and bits of files_struct that hold the one of a new task. */
export const FDTABLE = { maxFds: 0, fd: 8, closeOnExec: 16, openFds: 24, fullFdsBits: 32 } as const;
/** NR_OPEN_DEFAULT: descriptors of a table that never grew; ours do not grow. */
export const NR_OPEN = 64;

/** struct proc_inode: the struct inode in it starts at vfsInode, and ends it. */
export const PROC_INODE = { pid: 0, op: 16, pde: 24, vfsInode: 72 } as const;

/** struct proc_dir_entry */
export const PDE = {
  inUse: 0,
  refcnt: 4,
  openers: 8,
  unloadCompletion: 32,
  procOps: 48,
  seqOps: 64,
  singleShow: 64,
  data: 80,
  stateSize: 88,
  lowIno: 92,
  nlink: 96,
  uid: 100,
  gid: 104,
  size: 112,
  parent: 120,
  name: 160,
  mode: 168,
  flags: 170,
  namelen: 171,
  inlineName: 172,
  /** SIZEOF_PDE: the structure and room for a short name. */
  sizeOf: 192,
} as const;
export const PROC_ENTRY_PERMANENT = 1;
export const PROC_ENTRY_READ_ITER = 2;
export const PROC_ENTRY_LSEEK = 8;
/** What removal adds to in_use. */
export const PDE_BIAS = -0x80000000;

/** struct kernfs_node; sysfsOps is in the place of attr.open, which guest code never reads. */
export const KERNFS_NODE = {
  active: 4,
  parent: 8,
  name: 16,
  sysfsOps: 72,
  priv: 96,
  mode: 114,
  size: 128,
} as const;
/** struct kernfs_open_file */
export const KERNFS_OPEN_FILE = { kn: 0, file: 8, seqFile: 16, mutex: 32, size: 128 } as const;
