// The instruction set that a check executes: what src/check knows of registers and instructions, by the port.
//
// Invariant: indices are taken once, here; hot loops read constants.

import type { CheckEngine, InactiveFrame } from '../arch/checking.ts';
import { ENGINE_OPTION, type EngineName } from '../arch/engine.ts';
import { X86_64 } from '../arch/x86_64/x86_64.ts';

const { registers, insns, frames, inactive, makeEngine, tables, unwound } = X86_64.checking;

export const TARGET = X86_64;
export const openEngine = (name: EngineName = ENGINE_OPTION.default): CheckEngine => makeEngine(name);
export const REGISTERS = registers;
export const INSNS = insns;
export const INACTIVE: InactiveFrame = inactive;
export const TABLES = tables;
export const unwoundFrame = unwound;
export const FRAMES = frames;
export const ORC = X86_64.code.orc;
/** As a disassembler prints them, for reports; and the frame pointer as struct pt_regs has it. */
export const SP_NAME = registers.sp.name;
export const FP_NAME = registers.fp.name;
export const FP_FIELD = X86_64.ptRegs.fp ?? FP_NAME;
/** Number of the frame pointer. */
export const FP_REGISTER = registers.fp.number;
/** Low halves of registers in the halves of a context: the high half is behind it. */
export const SP = 2 * registers.sp.number;
export const FP = 2 * registers.fp.number;
export const PC = 2 * registers.pc;
