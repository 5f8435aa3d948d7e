// Constants that a kernel's types do not tell, since its headers #define them, where they are not in every kernel what
// they are in the built-in one (layout.ts).
//
// Seen in what Debian's headers of the three releases below compile to, every one of the constants; a value is taken
// for the releases between two that have it the same. What changed somewhere between two is not known there, and what
// was never looked at (before the first, behind the last) is not guessed either.

import { compareSeries } from './release.ts';

/** Where they were seen: 6.1.0-56, 6.12.117, 7.3.4. */
export const SEEN = ['6.1', '6.12', '7.3'] as const;

/** null: that kernel has it not. */
type Row = readonly [string, (number | bigint | null)[]];

const row = (name: string, ...values: (number | bigint | null)[]): Row => [name, values];

/** A column a release of SEEN. */
export const CHANGED: ReadonlyMap<string, readonly (number | bigint | null)[]> = new Map([
  // arch/x86/include/asm/thread_info.h; in 7.3 most are of include/asm-generic/thread_info_tif.h
  row('TIF_SIGPENDING', 2, 2, 1),
  row('TIF_NEED_RESCHED', 3, 3, 4),
  row('TIF_PATCH_PENDING', 13, 13, 9),
  row('TIF_NOTIFY_SIGNAL', 17, 17, 2),
  row('_TIF_SIGPENDING', 1 << 2, 1 << 2, 1 << 1),
  row('_TIF_NEED_RESCHED', 1 << 3, 1 << 3, 1 << 4),
  row('_TIF_PATCH_PENDING', 1 << 13, 1 << 13, 1 << 9),
  row('_TIF_NOTIFY_SIGNAL', 1 << 17, 1 << 17, 1 << 2),
  // arch/x86/include/asm/preempt.h, include/linux/preempt.h: a count of 64 bits in 7.3
  row('PREEMPT_NEED_RESCHED', 0x8000_0000, 0x8000_0000, 0x8000_0000_0000_0000n),
  row('HARDIRQ_OFFSET', 0x1_0000, 0x1_0000, 0x100_0000),
  row('HARDIRQ_MASK', 0xf_0000, 0xf_0000, 0xf00_0000),
  row('NMI_MASK', 0xf0_0000, 0xf0_0000, 0xf000_0000),
  // include/linux/livepatch.h: KLP_TRANSITION_IDLE, _UNPATCHED and _PATCHED in the later ones, of the same values
  row('KLP_UNDEFINED', -1, -1, -1),
  row('KLP_UNPATCHED', 0, 0, 0),
  row('KLP_PATCHED', 1, 1, 1),
  // include/linux/ftrace.h: what flags leave of a word
  row('FTRACE_REF_MAX', 0x7f_ffff, 0x7_ffff, 0x7_ffff),
  // include/linux/panic.h
  row('TAINT_FLAGS_COUNT', 19, 19, 20),
  // include/linux/gfp_types.h
  row('GFP_ATOMIC', 0xa20, 0x820, 0x820),
  row('GFP_NOWAIT', 0x800, 0x2800, 0x2800),
  row('__GFP_ATOMIC', 0x200, null, null),
  // include/linux/workqueue.h
  row('WORK_STRUCT_NO_POOL', 0xf_ffff_ffe0, 4503599625273344, 4503599625273344),
  // arch/x86/include/asm/alternative.h: ALT_FLAG_NOT, of a member of its own, since rows have 14 bytes
  row('ALTINSTR_FLAG_INV', 0x8000, null, null),
  // arch/x86/include/asm/cpufeatures.h
  row('X86_FEATURE_LFENCE_RDTSC', 114, 642, 642),
  // arch/x86/include/asm/ibt.h: seen in sealed functions
  row('SEALED_ENTRY', 0x1f0f66, 0x1f0f66, 0xd6401f0f),
  // arch/x86/include/asm/orc_types.h
  row('ORC_REG_PREV_SP', 1, 1, 8),
  row('ORC_REG_DX', 2, 2, 2),
  row('ORC_REG_DI', 3, 3, 5),
  row('ORC_REG_BP', 4, 4, 4),
  row('ORC_REG_SP', 5, 5, 3),
  row('ORC_REG_BP_INDIRECT', 8, 8, 10),
]);

/** The value of a constant in a release, from one of the columns of SEEN; undefined where that is not known, or it has none. */
export function ofRelease<T>(values: readonly (T | null)[], release: string): T | undefined {
  const after = SEEN.findIndex((seen) => compareSeries(release, seen) <= 0);
  if (after < 0) return undefined;
  const isSeen = compareSeries(release, SEEN[after]) === 0;
  if (!isSeen && (after === 0 || values[after - 1] !== values[after])) return undefined;
  return values[after] ?? undefined;
}

/** Why constants of a release are not known; undefined where all are. */
export function whyUnknown(release: string): string | undefined {
  if (compareSeries(release, SEEN[0]) < 0)
    return `it is older than ${SEEN[0]}, the oldest that was looked at`;
  const newest = SEEN[SEEN.length - 1];
  if (compareSeries(release, newest) > 0) return `it is later than ${newest}, the latest that was looked at`;
  const after = SEEN.findIndex((seen) => compareSeries(release, seen) <= 0);
  if (compareSeries(release, SEEN[after]) === 0) return undefined;
  const names = [...CHANGED].flatMap(([name, values]) => (values[after - 1] === values[after] ? [] : [name]));
  if (names.length === 0) return undefined;
  const some = names.slice(0, MOST_NAMED).join(', ');
  const more = names.length > MOST_NAMED ? ` and ${names.length - MOST_NAMED} more` : '';
  return `what changed between ${SEEN[after - 1]} and ${SEEN[after]} was not looked at in it (${some}${more})`;
}

const MOST_NAMED = 3;
