// How allocation flags read in the log: %pGg. Mirrors include/trace/events/mmflags.h and format_flags() of
// lib/vsprintf.c.

import type { Constants } from './description.ts';

/** gfpflag_names: those of many bits come first. */
const GFP_FLAGS = [
  'GFP_TRANSHUGE',
  'GFP_TRANSHUGE_LIGHT',
  'GFP_HIGHUSER_MOVABLE',
  'GFP_HIGHUSER',
  'GFP_USER',
  'GFP_KERNEL_ACCOUNT',
  'GFP_KERNEL',
  'GFP_NOFS',
  'GFP_ATOMIC',
  'GFP_NOIO',
  'GFP_NOWAIT',
  'GFP_DMA',
  '__GFP_HIGHMEM',
  'GFP_DMA32',
  '__GFP_HIGH',
  '__GFP_ATOMIC',
  '__GFP_IO',
  '__GFP_FS',
  '__GFP_NOWARN',
  '__GFP_RETRY_MAYFAIL',
  '__GFP_NOFAIL',
  '__GFP_NORETRY',
  '__GFP_COMP',
  '__GFP_ZERO',
  '__GFP_NOMEMALLOC',
  '__GFP_MEMALLOC',
  '__GFP_HARDWALL',
  '__GFP_THISNODE',
  '__GFP_RECLAIMABLE',
  '__GFP_MOVABLE',
  '__GFP_ACCOUNT',
  '__GFP_WRITE',
  '__GFP_RECLAIM',
  '__GFP_DIRECT_RECLAIM',
  '__GFP_KSWAPD_RECLAIM',
  '__GFP_ZEROTAGS',
] as const;

/** Names joined by `|`, and what has no name in hex. */
export function gfpFlagsText(constants: Pick<Constants, (typeof GFP_FLAGS)[number]>, flags: number): string {
  const names: string[] = [];
  let left = flags;
  for (const name of GFP_FLAGS) {
    const mask = constants[name];
    if (left === 0) break;
    if ((left & mask) !== mask) continue;
    names.push(name);
    left &= ~mask;
  }
  if (left !== 0) names.push(`0x${(left >>> 0).toString(16)}`);
  return names.join('|');
}
