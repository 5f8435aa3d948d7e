// Rows of ORC as DWARF's call frame instructions, so that a debugger's unwinder walks as the kernel's does.
// DWARF 5, 6.4.2; System V ABI for AMD64, 3.6.2 (register numbers); struct orc_entry as unwind_orc.ts reads it.
//
// Invariant: the canonical frame address is what ORC calls the previous stack pointer: behind the return address, or where
// the saved registers begin.

import { ORC_TYPE_CALL, ORC_TYPE_REGS, ORC_TYPE_REGS_PARTIAL, type OrcColumns } from '../../../elf/orc.ts';
import { ptRegsOffset } from '../../pt_regs.ts';
import { IRET_FRAME_OFFSET, PT_IP, PT_REGS, PT_REGS_NAMES, PT_SP, type PtRegsName } from '../pt_regs.ts';
import {
  ORC_REG_BP,
  ORC_REG_BP_INDIRECT,
  ORC_REG_DI,
  ORC_REG_DX,
  ORC_REG_PREV_SP,
  ORC_REG_R10,
  ORC_REG_R13,
  ORC_REG_SP,
  ORC_REG_SP_INDIRECT,
  ORC_REG_UNDEFINED,
} from '../unwind/orc_registers.ts';

/** DWARF's numbers. */
const NUMBERS: Readonly<Partial<Record<PtRegsName, number>>> = {
  ...{ ax: 0, dx: 1, cx: 2, bx: 3, si: 4, di: 5, bp: 6, sp: 7 },
  ...{ r8: 8, r9: 9, r10: 10, r11: 11, r12: 12, r13: 13, r14: 14, r15: 15, ip: 16 },
};
const BP = 6;
const SP = 7;
export const RETURN_COLUMN = 16;

/** DW_CFA_*, those whose offsets are signed. */
const CFA = { undefined: 7, sameValue: 8, defCfaExpression: 15, expression: 16, offset: 17, defCfa: 18 };
/** DW_OP_*; breg0 + n: the register n and an offset. */
const OP = { deref: 6, breg0: 112, consts: 17, plus: 34 };

function sleb(value: number): number[] {
  const bytes: number[] = [];
  for (let rest = value; ; ) {
    const byte = rest & 127;
    rest >>= 7;
    if ((rest === 0 && byte < 64) || (rest === -1 && byte >= 64)) return [...bytes, byte];
    bytes.push(byte | 128);
  }
}

const defCfa = (register: number, offset: number): number[] => [CFA.defCfa, register, ...sleb(offset)];
const savedAt = (register: number, offset: number): number[] => [CFA.offset, register, ...sleb(offset)];
const block = (code: readonly number[]): number[] => [code.length, ...code];
const registerPlus = (register: number, offset: number): number[] => [OP.breg0 + register, ...sleb(offset)];

/** Where the caller's stack pointer is; undefined by a register that no row has. */
function cfaOf(spReg: number, offset: number): number[] | undefined {
  switch (spReg) {
    case ORC_REG_SP:
      return defCfa(SP, offset);
    case ORC_REG_BP:
      return defCfa(BP, offset);
    case ORC_REG_SP_INDIRECT:
      return [
        CFA.defCfaExpression,
        ...block([...registerPlus(SP, 0), OP.deref, OP.consts, ...sleb(offset), OP.plus]),
      ];
    case ORC_REG_BP_INDIRECT:
      return [CFA.defCfaExpression, ...block([...registerPlus(BP, offset), OP.deref])];
    case ORC_REG_R10:
      return defCfa(NUMBERS.r10 as number, 0);
    case ORC_REG_R13:
      return defCfa(NUMBERS.r13 as number, 0);
    case ORC_REG_DI:
      return defCfa(NUMBERS.di as number, 0);
    case ORC_REG_DX:
      return defCfa(NUMBERS.dx as number, 0);
    default:
      return undefined;
  }
}

/** The caller's frame pointer, but for where all registers were saved. */
function framePointer(fpReg: number, offset: number): number[] {
  if (fpReg === ORC_REG_PREV_SP) return savedAt(BP, offset);
  if (fpReg === ORC_REG_BP) return [CFA.expression, BP, ...block(registerPlus(BP, offset))];
  return [CFA.sameValue, BP];
}

/** Every register of struct pt_regs that DWARF has a number for. */
const ALL_SAVED = PT_REGS_NAMES.flatMap((name) => {
  const number = NUMBERS[name];
  return number === undefined ? [] : savedAt(number, ptRegsOffset(PT_REGS, name));
});
const IRET_SAVED = [
  ...savedAt(RETURN_COLUMN, PT_IP - IRET_FRAME_OFFSET),
  ...savedAt(SP, PT_SP - IRET_FRAME_OFFSET),
];
const CALL_SAVED = savedAt(RETURN_COLUMN, -8);

const KIND_LAST = 3;
const NO_CALLER = { code: Uint8Array.from([CFA.undefined, RETURN_COLUMN]), signal: false, kind: KIND_LAST };
export const LAST_FRAME = NO_CALLER;
export const INITIAL_RULES = Uint8Array.from(defCfa(SP, 8));

export function rulesOf({ flags, spOffset, fpOffset }: OrcColumns, row: number) {
  const flag = flags[row];
  const type = (flag >>> 8) & 3;
  const [spReg, fpReg] = [flag & 15, (flag >>> 4) & 15];
  const cfa = spReg === ORC_REG_UNDEFINED ? undefined : cfaOf(spReg, spOffset[row]);
  if (cfa === undefined) return NO_CALLER;
  // Registers that were saved have it, unless the row says otherwise.
  const besides = fpReg === ORC_REG_UNDEFINED ? [] : framePointer(fpReg, fpOffset[row]);
  switch (type) {
    case ORC_TYPE_CALL: {
      const code = [...cfa, ...CALL_SAVED, ...framePointer(fpReg, fpOffset[row])];
      return { code: Uint8Array.from(code), signal: false, kind: type };
    }
    case ORC_TYPE_REGS:
      return { code: Uint8Array.from([...cfa, ...ALL_SAVED, ...besides]), signal: true, kind: type };
    case ORC_TYPE_REGS_PARTIAL:
      return {
        code: Uint8Array.from([...cfa, ...IRET_SAVED, CFA.sameValue, BP, ...besides]),
        signal: true,
        kind: type,
      };
    default:
      return NO_CALLER;
  }
}
