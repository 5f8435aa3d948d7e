// Flags that the manual leaves undefined after an instruction: no two judges need agree on them.
//
// Intel SDM volume 2, "Flags Affected" of each instruction; a shift's depend on its count.

import { REG } from '../../../../src/arch/x86_64/context.ts';
import type { Case } from './cases.ts';

const CF = 0x1;
const PF = 0x4;
const AF = 0x10;
const ZF = 0x40;
const SF = 0x80;
const OF = 0x800;

/** By what an instruction is shifted, its operand's bits. */
type Rule = number | ((count: number, bits: number) => number);

const shift =
  (carryEnds: boolean): Rule =>
  (count, bits) => {
    if (count === 0) return 0;
    return AF | (count === 1 ? 0 : OF) | (carryEnds && count >= bits ? CF : 0);
  };
const rotate: Rule = (count) => (count === 1 || count === 0 ? 0 : OF);
/** Counts above the width leave all of it undefined, the result with it (resultIsUndefined). */
const double: Rule = (count, bits) => {
  if (count === 0) return 0;
  return count > bits ? CF | PF | AF | ZF | SF | OF : AF | (count === 1 ? 0 : OF);
};
const bitTest = PF | AF | SF | OF;
const bitScan = CF | PF | AF | SF | OF;

const RULES: Readonly<Record<string, Rule>> = {
  and: AF,
  or: AF,
  xor: AF,
  test: AF,
  mul: PF | AF | ZF | SF,
  imul: PF | AF | ZF | SF,
  div: CF | PF | AF | ZF | SF | OF,
  idiv: CF | PF | AF | ZF | SF | OF,
  shl: shift(true),
  shr: shift(true),
  sal: shift(true),
  sar: shift(false),
  rol: rotate,
  ror: rotate,
  rcl: rotate,
  rcr: rotate,
  shld: double,
  shrd: double,
  bt: bitTest,
  bts: bitTest,
  btr: bitTest,
  btc: bitTest,
  bsf: bitScan,
  bsr: bitScan,
  lzcnt: PF | AF | SF | OF,
  tzcnt: PF | AF | SF | OF,
  andn: PF | AF,
  bextr: PF | AF | SF,
  blsi: PF | AF,
  blsmsk: PF | AF,
  blsr: PF | AF,
  bzhi: PF | AF,
};

const SHIFTS = new Set(['shl', 'shr', 'sal', 'sar', 'rol', 'ror', 'rcl', 'rcr', 'shld', 'shrd']);

/** Bits of the operand that is shifted. */
export function bitsOf({ form }: Case): number {
  const bits = /\b[rm](8|16|32|64)\b/.exec(form.name)?.[1];
  return Number(bits ?? 64);
}

export function countOf({ form, bytes, regs }: Case): number {
  const count =
    form.immediate === 1
      ? bytes[bytes.length - 1]
      : /, cl$/.test(form.name)
        ? Number(regs[REG.rcx] & 0xffn)
        : 1;
  return count & (bitsOf({ form } as Case) === 64 ? 63 : 31);
}

export function undefinedFlags(one: Case): number {
  const rule = RULES[one.form.mnemonic] ?? 0;
  if (typeof rule === 'number') return rule;
  return SHIFTS.has(one.form.mnemonic) ? rule(countOf(one), bitsOf(one)) : 0;
}

/** rsqrt and rcp: a relative error of 1.5 * 2^-12 is allowed, and every processor has another one. */
export const isApproximate = ({ form }: Case): boolean => /^v?(rsqrt|rcp)[ps]s$/.test(form.mnemonic);

/** The manual leaves the operand itself undefined, too: nothing can be compared. */
export function resultIsUndefined(one: Case): boolean {
  const { mnemonic } = one.form;
  if (mnemonic === 'bswap' && bitsOf(one) === 16) return true;
  return (mnemonic === 'shld' || mnemonic === 'shrd') && countOf(one) > bitsOf(one);
}
