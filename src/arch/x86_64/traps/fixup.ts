// What becomes of an instruction that has an entry in an exception table. Mirrors arch/x86/mm/extable.c, and
// arch/x86/include/asm/extable_fixup_types.h for what an entry's word says.

import type { Addr } from '../../../guest/addr.ts';
import { UAPI } from '../../../kernel/uapi.ts';
import { PT_REGS_BY_NUMBER, type PtRegsName } from '../pt_regs.ts';
import type { Interrupted } from './interrupted.ts';

/** Types of entries: the lowest byte of their word. */
const TYPE = {
  DEFAULT: 1,
  FAULT: 2,
  UACCESS: 3,
  COPY: 4,
  WRMSR: 8,
  RDMSR: 9,
  WRMSR_SAFE: 10,
  RDMSR_SAFE: 11,
  DEFAULT_MCE_SAFE: 14,
  FAULT_MCE_SAFE: 15,
  POP_REG: 16,
  IMM_REG: 17,
  UCOPY_LEN: 19,
} as const;
const FLAG_CLEAR_AX = 0x1000;
const FLAG_CLEAR_DX = 0x2000;

/** The registers of the interrupted code, and what the entry says of one of them. */
interface Fixed {
  get(name: PtRegsName): bigint;
  put(name: PtRegsName, value: bigint): void;
  readonly reg: PtRegsName;
  readonly imm: bigint;
  readonly trap: bigint;
}

const nothing = (): void => {};
const trapToAx = ({ put, trap }: Fixed): void => put('ax', trap);
const immToReg = ({ put, reg, imm }: Fixed): void => put(reg, imm);

/** What is done before it goes on at the fixup, by type; a type that is not here has none in this kernel's modules. */
const HANDLERS: Readonly<Record<number, (fixed: Fixed) => void>> = {
  [TYPE.DEFAULT]: nothing,
  [TYPE.DEFAULT_MCE_SAFE]: nothing,
  [TYPE.UACCESS]: nothing,
  [TYPE.FAULT]: trapToAx,
  [TYPE.FAULT_MCE_SAFE]: trapToAx,
  [TYPE.COPY]: trapToAx,
  [TYPE.WRMSR]: nothing,
  [TYPE.RDMSR]: ({ put }) => clearAxDx(put),
  [TYPE.WRMSR_SAFE]: ({ put, reg }) => put(reg, BigInt(-UAPI.EIO)),
  [TYPE.RDMSR_SAFE]: ({ put, reg }) => {
    clearAxDx(put);
    put(reg, BigInt(-UAPI.EIO));
  },
  [TYPE.POP_REG]: (fixed) => {
    fixed.put('sp', fixed.get('sp') + 8n);
    immToReg(fixed);
  },
  [TYPE.IMM_REG]: immToReg,
  [TYPE.UCOPY_LEN]: ({ get, put, reg, imm }) => put('cx', imm * get('cx') + get(reg)),
};

function clearAxDx(put: Fixed['put']): void {
  put('ax', 0n);
  put('dx', 0n);
}

export type TrapName = 'X86_TRAP_DE' | 'X86_TRAP_UD' | 'X86_TRAP_GP' | 'X86_TRAP_PF' | 'X86_TRAP_XF';
/** Of the numbers of traps the one that no module needs. */
const X86_TRAP_XF = 19;

/** fixup_exception(): true when the interrupted code goes on elsewhere. */
export function fixupException(traps: Interrupted, regs: Addr, trap: TrapName): boolean {
  const get = (name: PtRegsName): bigint => traps.reg(regs, name);
  const put = (name: PtRegsName, value: bigint): void => traps.setReg(regs, name, value);
  const entry = traps.kernel.searchExceptionTables(get('ip'));
  const handler = entry && HANDLERS[entry.data & 0xff];
  if (!entry || !handler) return false;
  handler({
    get,
    put,
    reg: PT_REGS_BY_NUMBER[(entry.data >> 8) & 15],
    imm: BigInt(entry.data >> 16),
    trap: BigInt(trap === 'X86_TRAP_XF' ? X86_TRAP_XF : traps.kernel.constants[trap]),
  });
  if (entry.data & FLAG_CLEAR_AX) put('ax', 0n);
  if (entry.data & FLAG_CLEAR_DX) put('dx', 0n);
  put('ip', entry.fixup);
  return true;
}
