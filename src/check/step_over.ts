// Which instructions a check steps over instead of executing: those that change the machine (control and
// segment registers), wait for devices, repeat by a count that nobody set, or are not in the engine.
//
// Invariant: none of them changes rsp, except popf, whose 8 bytes are taken off.

import { DIVIDES, FLAGS, type Insn, MACHINE, STRING } from '../isa/decoder.ts';

/** popf: what it takes off the stack is taken off all the same. */
export const isPopf = (insn: Insn): boolean => (insn.facts & FLAGS) !== 0;

/** Why an instruction is not executed where it stands; counted by their numbers. */
export const SKIP_REASONS = [
  'vector instructions',
  'privileged, or of a device',
  'divisions by what happens to be there',
  'repeated by a count that nobody set',
  'no memory where a pointer leads',
  'not known to the engine',
] as const;
export const NO_MEMORY = 4;
export const UNKNOWN_TO_ENGINE = 5;

/** The number of the reason, or -1 for an instruction that is executed. */
export function whySteppedOver(insn: Insn): number {
  const { facts, opcode } = insn;
  if (opcode === 0 || insn.vex) return 0;
  if (facts & MACHINE) return 1;
  // A division by what happens to be there; the result is of no use to the stack.
  if (facts & DIVIDES) return 2;
  return facts & STRING ? 3 : -1;
}

/** Instructions not executed, by reason. */
export class Skips {
  readonly counts = new Int32Array(SKIP_REASONS.length);

  get total(): number {
    return this.counts.reduce((sum, n) => sum + n, 0);
  }
  add(other: Skips): void {
    other.counts.forEach((n, i) => {
      this.counts[i] += n;
    });
  }
  clear(): void {
    this.counts.fill(0);
  }
  byReason(): Record<string, number> {
    const named: Record<string, number> = {};
    this.counts.forEach((n, i) => {
      if (n > 0) named[SKIP_REASONS[i]] = n;
    });
    return named;
  }
}
