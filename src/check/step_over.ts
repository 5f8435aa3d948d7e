// Which instructions a check steps over instead of executing: those that change the machine (control and
// segment registers), wait for devices, repeat by a count that nobody set, or are not in the engine.
//
// Invariant: none of them changes rsp, except popf, whose 8 bytes are taken off.

import type { Insn } from '../isa/decoder.ts';

const PRIVILEGED = new Set([
  0x0f00, 0x0f01, 0x0f06, 0x0f08, 0x0f09, 0x0f20, 0x0f21, 0x0f22, 0x0f23, 0x0f30, 0x0f32, 0x0f33, 0x0fa2,
  0x0fae, 0x0fc7, 0x8e, 0xf4, 0xfa, 0xfb, 0xfd, 0xe4, 0xe5, 0xe6, 0xe7, 0xec, 0xed, 0xee, 0xef, 0x6c, 0x6d,
  0x6e, 0x6f, 0x0f31, 0x0fa9, 0x0fa1, 0x0fb2, 0x0fb4, 0x0fb5, 0x0f77,
]);
const STRING = new Set([0xa4, 0xa5, 0xa6, 0xa7, 0xaa, 0xab, 0xac, 0xad, 0xae, 0xaf]);

export const POPF = 0x9d;

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
  const { opcode } = insn;
  if (opcode === 0 || insn.vex) return 0;
  if (opcode === POPF || PRIVILEGED.has(opcode)) return 1;
  // A division by what happens to be there; the result is of no use to the stack.
  if ((opcode === 0xf6 || opcode === 0xf7) && (insn.reg & 7) >= 6) return 2;
  return STRING.has(opcode) ? 3 : -1;
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
