// Why two engines may end a function differently: each with who is right. Up to that point both are compared.

import { REG } from '../../../../src/arch/x86_64/context.ts';
import type { Stop } from '../../../../src/guest/engine.ts';
import { decodeAt, Insn, REX_W } from '../../../../src/isa/decoder.ts';
import { operandAddress } from '../../../../src/isa/operand.ts';
import { TEXT } from './function_images.ts';

export interface Ended extends Pick<Stop, 'kind' | 'executed' | 'faultAddr'> {
  readonly regs: BigUint64Array;
}

export interface KnownEnd {
  readonly name: string;
  /** Who is right, and by what. */
  readonly right: string;
  /** @param insn where the earlier one ended */
  applies(core: Ended, unicorn: Ended, insn: Insn): boolean;
}

const isCanonical = (addr: bigint): boolean => BigInt.asUintN(64, BigInt.asIntN(48, addr)) === addr;

/** Address of the memory operand. */
const addressOf = (insn: Insn, { regs }: Ended): bigint =>
  BigInt.asUintN(
    64,
    operandAddress(insn, regs[REG.rip], (n) => regs[n]),
  );

export const KNOWN_ENDS: readonly KnownEnd[] = [
  {
    name: 'calls the fault of an address that is not canonical one of a page, or goes there',
    right: 'manual, volume 3, 6.15: #GP',
    applies: (core, unicorn) =>
      core.kind === 'exception' &&
      ((unicorn.kind === 'page fault' && !isCanonical(unicorn.faultAddr)) ||
        !isCanonical(unicorn.regs[REG.rip])),
  },
  {
    name: 'does not ask for alignment of 16 bytes',
    right: 'manual 2.4: #GP for an operand of 16 bytes that is not aligned, but of movups and its like',
    applies: (core, unicorn, insn) =>
      core.kind === 'exception' &&
      core.executed <= unicorn.executed &&
      !insn.vex &&
      insn.opcode > 0xff &&
      insn.mod !== 3 &&
      (addressOf(insn, core) & 15n) !== 0n,
  },
  {
    name: 'lacks the instruction',
    right: 'the manual and the host, which have it',
    applies: (core, unicorn) => unicorn.kind === 'undefined instruction' && unicorn.executed <= core.executed,
  },
];

const insn = new Insn();

/** What of these it is a case of. */
export function knownEnd(core: Ended, unicorn: Ended, text: Uint8Array): KnownEnd | undefined {
  const first = core.executed <= unicorn.executed ? core : unicorn;
  const at = Number(BigInt.asIntN(64, first.regs[REG.rip] - TEXT));
  if (at >= 0 && at < text.length) decodeAt(text, at, 0, insn);
  else insn.length = 0;
  return KNOWN_ENDS.find((known) => known.applies(core, unicorn, insn));
}

/** Of the same end: not where it came, but what it computed. */
export const OTHER_NAN = {
  name: 'chooses another NaN of two',
  right: 'manual 4.8.3.5: the first source operand, made quiet',
} as const;

export const UPPER_HALF = {
  name: 'writes the upper half of a register of 32 bits that is not written',
  right: 'both: the manual leaves it open; processors keep it',
} as const;

/** bsf and bsr of nothing, cmpxchg of what is unequal. */
const leavesRegister = ({ opcode, rep, rex, vex }: Insn): boolean =>
  !vex &&
  (rex & REX_W) === 0 &&
  (((opcode === 0x0fbc || opcode === 0x0fbd) && rep === 0) || opcode === 0x0fb1);

/** Registers alone differ, by an upper half that Unicorn has as 0, and the code has an instruction that may leave it. */
export function differInUpperHalf(a: Ended, b: Ended, code: Uint8Array): boolean {
  if (a.kind !== b.kind || a.executed !== b.executed) return false;
  const isSo = a.regs
    .subarray(0, 17)
    .every((value, i) => value === b.regs[i] || BigInt.asUintN(32, value) === b.regs[i]);
  let found = false;
  for (let at = 0; at < code.length && !found; at += insn.length || 1) {
    decodeAt(code, at, 0, insn);
    found = insn.length > 0 && leavesRegister(insn);
  }
  return isSo && found;
}

const isNanOf8 = (view: DataView, at: number): boolean => {
  const high = view.getUint32(at + 4, true) & 0x7fffffff;
  return high > 0x7ff00000 || (high === 0x7ff00000 && view.getUint32(at, true) !== 0);
};
const isNanOf4 = (view: DataView, at: number): boolean =>
  (view.getUint32(at, true) & 0x7fffffff) > 0x7f800000;

/** The end of a number at or before a byte that is a NaN in both; 0 where there is none. */
function endOfNan(a: DataView, b: DataView, at: number): number {
  for (const [bytes, isNan] of [
    [8, isNanOf8],
    [4, isNanOf4],
  ] as const) {
    for (let from = Math.max(at - bytes + 1, 0); from <= at && from + bytes <= a.byteLength; from++)
      if (isNan(a, from) && isNan(b, from)) return from + bytes;
  }
  return 0;
}

const viewOf = ({ buffer, byteOffset, byteLength }: ArrayBufferView): DataView =>
  new DataView(buffer as ArrayBuffer, byteOffset, byteLength);

/** All that differs, in registers and memory, is part of a number that is a NaN in both. */
export function differInNans(
  a: Ended,
  b: Ended,
  ours: readonly Uint8Array[],
  theirs: readonly Uint8Array[],
): boolean {
  if (a.kind !== b.kind || a.executed !== b.executed || a.regs[REG.rip] !== b.regs[REG.rip]) return false;
  return [
    [a.regs.subarray(0, 16), b.regs.subarray(0, 16)],
    ...ours.map((bytes, i) => [bytes, theirs[i]]),
  ].every(([one, other]) => {
    const [x, y] = [viewOf(one), viewOf(other)];
    for (let at = 0; at < x.byteLength; at++) {
      if (x.getUint8(at) === y.getUint8(at)) continue;
      const end = endOfNan(x, y, at);
      if (end === 0) return false;
      at = end - 1;
    }
    return true;
  });
}
