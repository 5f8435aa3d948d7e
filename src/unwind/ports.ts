// What the unwinders need from the rest of the machine, and the layout of what they read.
// Mirrors arch/x86/include/asm/stacktrace.h, ptrace.h and switch_to.h (struct pt_regs, inactive_task_frame).
//
// Invariant: everything an unwinder reads lies on a task stack or in a register file handed to it.

/** All task stacks in one typed array: slot i's 16 KiB are words [i * 0x1000, (i + 1) * 0x1000). */
export interface StackArena {
  readonly words: Uint32Array;
}

/** A task as far as its stack goes; a TaskStruct is one. */
export interface UnwindTask {
  /** Index of its stack slot; -1 for a task whose stack is gone (a zombie), whose trace is reliably empty. */
  readonly stackSlot: number;
  /** Not 0 while a CPU executes the task: its saved stack pointer says nothing then. */
  readonly onCpu: number;
  /** Low 32 bits of thread.sp of a task that is switched out. */
  readonly spLo: number;
}

/** A register file in the layout of struct pt_regs, two words a register, low word first. */
export type PtRegs = Uint32Array;

export const STACK_HI = 0xffffc900;
export const STACK_SLOT_SHIFT = 15;
const STACK_GUARD_SIZE = 0x4000;
export const THREAD_SIZE = 0x4000;

/** Registers of struct pt_regs in order; a register's byte offset is eight times its index. */
export const PT_REGS_NAMES = [
  'r15',
  'r14',
  'r13',
  'r12',
  'bp',
  'bx',
  'r11',
  'r10',
  'r9',
  'r8',
  'ax',
  'cx',
  'dx',
  'si',
  'di',
  'orig_ax',
  'ip',
  'cs',
  'flags',
  'sp',
  'ss',
] as const;
export type PtRegsName = (typeof PT_REGS_NAMES)[number];

export const PT_R13 = 2 * 8;
export const PT_BP = 4 * 8;
export const PT_R10 = 7 * 8;
export const PT_DX = 12 * 8;
export const PT_DI = 14 * 8;
export const PT_ORIG_AX = 15 * 8;
export const PT_IP = 16 * 8;
export const PT_CS = 17 * 8;
export const PT_FLAGS = 18 * 8;
export const PT_SP = 19 * 8;
export const PT_SS = 20 * 8;
export const PT_REGS_SIZE = 21 * 8;
export const IRET_FRAME_OFFSET = PT_IP;
export const IRET_FRAME_SIZE = PT_REGS_SIZE - IRET_FRAME_OFFSET;

/** struct inactive_task_frame: r15 r14 r13 r12 bx bp ret_addr. */
export const INACTIVE_FRAME_BP = 5 * 8;
export const INACTIVE_FRAME_RET_ADDR = 6 * 8;
export const INACTIVE_FRAME_SIZE = 7 * 8;

export const EINVAL = 22;
export const ENOSYS = 38;

/** The address of a stack's lowest byte, low 32 bits. */
export function stackBegin(slot: number): number {
  return slot * 0x8000 + STACK_GUARD_SIZE;
}

/** A register file from named values; registers not named are 0, cs is the kernel's. */
export function packPtRegs(values: Partial<Record<PtRegsName, bigint>>, into?: PtRegs): PtRegs {
  const regs = into ?? new Uint32Array(PT_REGS_SIZE / 4);
  regs.fill(0);
  regs[PT_CS / 4] = 0x10;
  PT_REGS_NAMES.forEach((name, i) => {
    const value = values[name];
    if (value === undefined) return;
    regs[i * 2] = Number(BigInt.asUintN(32, value));
    regs[i * 2 + 1] = Number(BigInt.asUintN(32, value >> 32n));
  });
  return regs;
}

/** One register of a register file in the layout of struct pt_regs. */
export function ptReg(regs: PtRegs, name: PtRegsName): bigint {
  const i = PT_REGS_NAMES.indexOf(name) * 2;
  return (BigInt(regs[i + 1]) << 32n) | BigInt(regs[i]);
}
