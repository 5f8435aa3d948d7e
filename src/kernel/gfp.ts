// How allocation flags read in the log: %pGg. Mirrors include/trace/events/mmflags.h and format_flags() of
// lib/vsprintf.c.

/** gfpflag_names: those of many bits come first. */
const GFP_FLAGS: readonly (readonly [string, number])[] = [
  ['GFP_TRANSHUGE', 0x1c24ca],
  ['GFP_TRANSHUGE_LIGHT', 0x1c20ca],
  ['GFP_HIGHUSER_MOVABLE', 0x100cca],
  ['GFP_HIGHUSER', 0x100cc2],
  ['GFP_USER', 0x100cc0],
  ['GFP_KERNEL_ACCOUNT', 0x400cc0],
  ['GFP_KERNEL', 0xcc0],
  ['GFP_NOFS', 0xc40],
  ['GFP_ATOMIC', 0xa20],
  ['GFP_NOIO', 0xc00],
  ['GFP_NOWAIT', 0x800],
  ['GFP_DMA', 1],
  ['__GFP_HIGHMEM', 2],
  ['GFP_DMA32', 4],
  ['__GFP_HIGH', 0x20],
  ['__GFP_ATOMIC', 0x200],
  ['__GFP_IO', 0x40],
  ['__GFP_FS', 0x80],
  ['__GFP_NOWARN', 0x2000],
  ['__GFP_RETRY_MAYFAIL', 0x4000],
  ['__GFP_NOFAIL', 0x8000],
  ['__GFP_NORETRY', 0x10000],
  ['__GFP_COMP', 0x40000],
  ['__GFP_ZERO', 0x100],
  ['__GFP_NOMEMALLOC', 0x80000],
  ['__GFP_MEMALLOC', 0x20000],
  ['__GFP_HARDWALL', 0x100000],
  ['__GFP_THISNODE', 0x200000],
  ['__GFP_RECLAIMABLE', 0x10],
  ['__GFP_MOVABLE', 8],
  ['__GFP_ACCOUNT', 0x400000],
  ['__GFP_WRITE', 0x1000],
  ['__GFP_RECLAIM', 0xc00],
  ['__GFP_DIRECT_RECLAIM', 0x400],
  ['__GFP_KSWAPD_RECLAIM', 0x800],
  ['__GFP_ZEROTAGS', 0x800000],
];

/** Names joined by `|`, and what has no name in hex. */
export function gfpFlagsText(flags: number): string {
  const names: string[] = [];
  let left = flags;
  for (const [name, mask] of GFP_FLAGS) {
    if (left === 0) break;
    if ((left & mask) !== mask) continue;
    names.push(name);
    left &= ~mask;
  }
  if (left !== 0) names.push(`0x${(left >>> 0).toString(16)}`);
  return names.join('|');
}
