// The bytes of .orc_unwind, of every kernel that has them.
// Mirrors struct orc_entry of arch/x86/include/asm/orc_types.h in 6.1, 6.3, 6.4 and 7.2.
//
// | since | 16 bits after the two offsets |
// | ----- | ----------------------------- |
// | 4.14  | sp_reg:4 bp_reg:4 type:2 end:1 |
// | 6.3   | sp_reg:4 bp_reg:4 type:2 signal:1 end:1 |
// | 6.4   | sp_reg:4 bp_reg:4 type:3 signal:1; types undefined and end of stack take over from sp_reg 0 and `end` |
// | 7.2   | the same; other numbers of the registers |

import { ORC_END as END, ORC_SIGNAL as SIGNAL } from '../../../elf/orc.ts';
import type { OrcFormatRule } from '../../orc.ts';
import { ORC_REG_NAMES, ORC_REG_NONE } from '../unwind/orc_registers.ts';
import type { ORC_FORMATS } from './orc_formats.ts';

const SIZE = 6;
const [SP_OFFSET, BP_OFFSET, BITS] = [0, 2, 4];

const TYPE_6_4_END = 1;
/** ORC_TYPE_CALL of 6.4, from which the types of 6.1 follow in the same order. */
const TYPE_6_4_CALL = 2;
/** By register of 6.1 that of 7.2, whose number 1 (ax) 6.1 has not. */
const TO_7_2 = [0, 8, 2, 5, 4, 3, 6, 7, 10, 9];
const FROM_7_2 = Array.from({ length: 16 }, (_, i) =>
  TO_7_2.includes(i) ? TO_7_2.indexOf(i) : ORC_REG_NONE,
);

/** The 16 bits of one layout. */
interface Bits {
  readonly hash?: string;
  encode(flags: number): number;
  decode(raw: number): number;
  /** Whether a kernel's objtool could have made them. */
  isPossible(raw: number): boolean;
  /** At a function's first instruction: sp+8, and the caller's rbp in its register. */
  readonly start: number;
  /** The number that 6.1 has for a register of this layout. */
  register(number: number): number;
}

/** By number of a register, those that an entry can go by. */
const [SP_REGS, BP_REGS] = [
  [2, 3, 4, 5, 6, 7, 8, 9],
  [0, 1, 4],
];
const [SP_REGS_7_2, BP_REGS_7_2] = [
  [1, 2, 3, 4, 5, 6, 7, 9, 10],
  [0, 4, 8],
];
const SIGNAL_6_3 = 0x400;
const END_6_3 = 0x800;

function knows(raw: number, sp = SP_REGS, bp = BP_REGS): boolean {
  const spReg = raw & 0xf;
  return (spReg === 0 || sp.includes(spReg)) && bp.includes((raw >> 4) & 0xf);
}

/** Types without a stack pointer, then those with one. */
function isOf64(raw: number): boolean {
  const type = (raw >> 8) & 7;
  return raw < 0x1000 && type <= 4 && type < 2 === ((raw & 0xf) === 0);
}

function encode64(flags: number): number {
  if ((flags & 0xf) === 0) return flags & END ? TYPE_6_4_END << 8 : 0;
  return (flags & 0xff) | ((((flags >> 8) & 3) + TYPE_6_4_CALL) << 8) | (flags & SIGNAL ? 0x800 : 0);
}

function decode64(raw: number): number {
  const type = (raw >> 8) & 7;
  if (type < TYPE_6_4_CALL) return type === TYPE_6_4_END ? END : 0;
  return (raw & 0xff) | (((type - TYPE_6_4_CALL) & 3) << 8) | (raw & 0x800 ? SIGNAL : 0);
}

/** The same bits with both registers by other numbers. */
const renumber = (bits: number, numbers: readonly number[]): number =>
  (bits & ~0xff) | numbers[bits & 0xf] | (numbers[(bits >> 4) & 0xf] << 4);

const same = (number: number): number => number;

const ALL: Readonly<Record<(typeof ORC_FORMATS)[number], Bits>> = {
  '6.1': {
    encode: (flags) => flags & 0x7ff,
    decode: (raw) => raw & 0x7ff,
    isPossible: (raw) => raw < 0x800 && ((raw & 0xf) === 0 || (raw & END) === 0) && knows(raw),
    start: 0x5,
    register: same,
  },
  '6.3': {
    hash: 'db84aed4103b31dd51e017f8f79783ca985c2c51',
    encode: (flags) => (flags & 0x3ff) | (flags & SIGNAL ? SIGNAL_6_3 : 0) | (flags & END ? END_6_3 : 0),
    decode: (raw) => (raw & 0x3ff) | (raw & SIGNAL_6_3 ? SIGNAL : 0) | (raw & END_6_3 ? END : 0),
    isPossible: (raw) =>
      raw < 0x1000 && (raw & ((raw & 0xf) === 0 ? SIGNAL_6_3 : END_6_3)) === 0 && knows(raw),
    start: 0x5,
    register: same,
  },
  '6.4': {
    hash: 'fe5d32bf581bd63b2ca9a5c65ba5a625eab3fe24',
    encode: encode64,
    decode: decode64,
    isPossible: (raw) => isOf64(raw) && knows(raw),
    start: 0x205,
    register: same,
  },
  '7.2': {
    hash: '137c36ad7627c4dd55932176bb0ecdbd5041fc82',
    encode: (flags) => encode64(renumber(flags, TO_7_2)),
    decode: (raw) => renumber(decode64(raw), FROM_7_2),
    isPossible: (raw) => isOf64(raw) && knows(raw, SP_REGS_7_2, BP_REGS_7_2),
    start: 0x203,
    register: (number) => FROM_7_2[number] ?? ORC_REG_NONE,
  },
};

const START_OFFSET = 8;
const HINT_NAMES: Readonly<Record<string, string>> = { '(sp)': '(rsp)', undefined: '' };

function ruleOf({ hash, encode, decode, isPossible, start, register }: Bits): OrcFormatRule {
  const translates = register !== same;
  return {
    size: SIZE,
    hash,
    // What came with it was the hash.
    saysSignal: hash !== undefined,
    read(bytes, at, into, row) {
      const flags = decode(bytes.getUint16(at + BITS, true));
      into.spOffset[row] = bytes.getInt16(at + SP_OFFSET, true);
      into.fpOffset[row] = bytes.getInt16(at + BP_OFFSET, true);
      into.flags[row] = flags;
      return !translates || (flags & 0xf) !== ORC_REG_NONE;
    },
    write(from, row, bytes, at) {
      bytes.setInt16(at + SP_OFFSET, from.spOffset[row], true);
      bytes.setInt16(at + BP_OFFSET, from.fpOffset[row], true);
      bytes.setUint16(at + BITS, encode(from.flags[row]), true);
    },
    isPossible: (bytes, at) => isPossible(bytes.getUint16(at + BITS, true)),
    isStart: (bytes, at) =>
      bytes.getUint16(at + BITS, true) === start && bytes.getInt16(at + SP_OFFSET, true) === START_OFFSET,
    hintName(number) {
      const name = ORC_REG_NAMES[register(number)] ?? '?';
      return HINT_NAMES[name] ?? (/^r\d/.test(name) ? name : `r${name}`);
    },
  };
}

export const ORC_LAYOUTS: ReadonlyMap<string, OrcFormatRule> = new Map(
  Object.entries(ALL).map(([format, bits]) => [format, ruleOf(bits)]),
);
