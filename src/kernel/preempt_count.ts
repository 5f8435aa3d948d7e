// The preemption count of a CPU: what holds off preemption, and whether somebody waits for the CPU.
// Mirrors arch/x86/include/asm/preempt.h.
//
// PREEMPT_NEED_RESCHED is the highest bit, inverted: of 32 bits in 6.1, of 64 in 7.3. All else is in the lower 32 in both.

import type { KernelCore } from './core.ts';

type Counts = Pick<KernelCore, 'percpu' | 'kernel'>;

const NAME = '__preempt_count';
const WORD = 2 ** 32;

/** The bit in its word, and where that word is behind the count's first byte. */
function needResched({ kernel }: Counts): { readonly at: number; readonly bit: number } {
  const bit = Number(kernel.constants.PREEMPT_NEED_RESCHED);
  return bit < WORD ? { at: 0, bit } : { at: 4, bit: bit / WORD };
}

/** preempt_count(): without the bit. */
export function preemptCount(core: Counts, cpu: number): number {
  const { at, bit } = needResched(core);
  const count = core.percpu.readU32(NAME, cpu);
  return at === 0 ? (count & ~bit) >>> 0 : count;
}

/** preempt_count_set(): the bit stays. */
export function setPreemptCount(core: Counts, cpu: number, count: number): void {
  const { at, bit } = needResched(core);
  const kept = at === 0 ? core.percpu.readU32(NAME, cpu) & bit : 0;
  core.percpu.writeU32(NAME, cpu, (count | kept) >>> 0);
}

/** set_preempt_need_resched(), clear_preempt_need_resched(): inverted in memory. */
export function setNeedResched(core: Counts, cpu: number, waits: boolean): void {
  const { at, bit } = needResched(core);
  const word = core.percpu.readU32(NAME, cpu, at);
  core.percpu.writeU32(NAME, cpu, (waits ? word & ~bit : word | bit) >>> 0, at);
}
