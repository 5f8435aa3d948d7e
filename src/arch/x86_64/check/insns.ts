// What the instructions of x86_64 do, for src/check: see src/arch/checking.ts for what each answer must guarantee.

import {
  DIVIDES,
  decodeAt,
  FLAGS,
  FLOW_NEXT,
  FLOW_UD2,
  Insn,
  MACHINE,
  STACK,
  STACK_MASK,
  STRING,
} from '../../../isa/decoder.ts';
import { OPCODE } from '../../../isa/opcodes.ts';
import { isRefusedAt, overwriteEarlyRex } from '../../../isa/refused.ts';
import {
  type CheckedInsns,
  DIVISION,
  INTERRUPT,
  type InsnAddress,
  PRIVILEGED,
  REPEATED,
  VECTOR,
} from '../../checking.ts';
import { REG } from '../context.ts';
import { R_X86_64_32S, R_X86_64_PC32 } from '../module/relocation.ts';
import { addressedBy, runKind, writes } from './plain.ts';
import { stackStore, storesOn } from './stack_store.ts';

function skipped({ facts, flow, opcode, vex }: Insn): number {
  if (opcode === 0 || vex) return VECTOR;
  if (facts & MACHINE) return PRIVILEGED;
  // Branches, calls and returns are the walk's.
  if (flow !== FLOW_NEXT && flow !== FLOW_UD2) return INTERRUPT;
  // A division by what happens to be there; the result is of no use to the stack.
  if (facts & DIVIDES) return DIVISION;
  return facts & STRING ? REPEATED : -1;
}

const counter = ({ facts, rep }: Insn): number => (rep !== 0 && facts & STRING ? REG.rcx : -1);

/** The five words of an iret. */
const IRET_FRAME = 40;

function takesOff({ facts }: Insn): number {
  if (facts & FLAGS) return 8;
  return (facts & STACK_MASK) === STACK.IRET ? IRET_FRAME : 0;
}

/** sub %register, %rsp */
function makesRoom({ facts, mod, reg, rm }: Insn): boolean {
  if (mod !== 3) return false;
  const stack = facts & STACK_MASK;
  return (stack === STACK.SUB_REG && rm === REG.rsp) || (stack === STACK.SUB_FROM_REG && reg === REG.rsp);
}

function deltaAlone(insn: Insn): number | undefined {
  const stack = insn.facts & STACK_MASK;
  if (!insn.hasModrm || (stack === STACK.LOAD && insn.reg === REG.rsp)) return undefined;
  // push of memory
  return stack === STACK.PUSH ? -8 : 0;
}

/** Field by field, without a list of them: it is asked for each relocation. */
function isSameButValue(a: Insn, b: Insn): boolean {
  const opcode = a.length === b.length && a.opcode === b.opcode && a.flow === b.flow && a.vex === b.vex;
  const prefixes = a.rex === b.rex && a.rep === b.rep && a.opsize16 === b.opsize16 && a.segment === b.segment;
  const operands = a.mod === b.mod && a.reg === b.reg && a.rm === b.rm;
  return opcode && prefixes && operands && a.sibBase === b.sibBase && a.sibIndex === b.sibIndex;
}

/** The constant at its end, or what is added to the address of the next instruction. */
function isValueAt({ length, immSize, ripRelative, vex }: Insn, offset: number, width: number): boolean {
  if (vex) return false;
  if (immSize === width && offset === length - width) return true;
  return ripRelative && width === 4 && offset === length - immSize - width;
}

const NONE: readonly InsnAddress[] = [];

function addresses(insn: Insn, next: number): readonly InsnAddress[] {
  if (!insn.ripRelative && insn.immSize !== 4) return NONE;
  const found: InsnAddress[] = [];
  if (insn.ripRelative) {
    const address = (next + insn.disp) >>> 0;
    found.push({ address, fromEnd: insn.immSize + 4, relocation: R_X86_64_PC32, certain: true });
  }
  if (insn.immSize === 4 && insn.flow === FLOW_NEXT) {
    found.push({ address: insn.imm >>> 0, fromEnd: 4, relocation: R_X86_64_32S, certain: false });
  }
  return found;
}

/** What is decoded into is an Insn always: newInsn() makes no other. */
export const INSNS: CheckedInsns = {
  newInsn: () => new Insn(),
  decode: (bytes, at, address, into) => decodeAt(bytes, at, address, into as Insn),
  storesOn: (insn, halves, high) => storesOn(insn as Insn, halves, high),
  counter: (insn) => counter(insn as Insn),
  storesAt: (insn, halves, high) => stackStore(insn as Insn, halves, high),
  makesRoom: (insn) => makesRoom(insn as Insn),
  deltaAlone: (insn) => deltaAlone(insn as Insn),
  runKind: (insn) => runKind(insn as Insn),
  writes: (insn) => writes(insn as Insn),
  addressedBy: (insn) => addressedBy(insn as Insn),
  skipped: (insn) => skipped(insn as Insn),
  takesOff: (insn) => takesOff(insn as Insn),
  isRefused: isRefusedAt,
  straighten: overwriteEarlyRex,
  isValueAt: (insn, offset, width) => isValueAt(insn as Insn, offset, width),
  isSameButValue: (a, b) => isSameButValue(a as Insn, b as Insn),
  addresses: (insn, next) => addresses(insn as Insn, next),
  filler: OPCODE.INT3,
  // ud2
  undefined: Uint8Array.of(0x0f, 0x0b),
};
