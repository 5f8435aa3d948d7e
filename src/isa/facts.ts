// What can be said of an opcode: what follows it, where it goes, what it does to the stack, what it writes. The words
// that the table of opcodes (opcodes.ts) is written in.
//
// Invariant: the facts of an opcode are one number: its flow in the low bits, then what it writes, then its stack
// operation, then one bit each. FORM is apart: it is needed before the operands are read.

/** What follows the opcode byte. */
export const FORM = {
  NONE: 0,
  MODRM: 1,
  IMM8: 2,
  IMM16: 4,
  /** 4 bytes, 2 with an operand-size prefix. */
  IMMZ: 8,
  /** As IMMZ, 8 with REX.W. */
  IMMV: 16,
  MOFFS: 32,
  /** An immediate as IMMZ for extensions 0 and 1 alone: `test` of f6 and f7. */
  IMM_TEST: 64,
  IMM32: 128,
  /** One more byte: the level of `enter`. */
  IMM8_MORE: 256,
  INVALID: 512,
  PREFIX: 1024,
  /** The mode bits of ModRM do not count: it names registers. */
  REGISTERS: 2048,
} as const;

export const FLOW_NEXT = 0;
export const FLOW_CALL = 1;
export const FLOW_CALL_INDIRECT = 2;
export const FLOW_RET = 3;
export const FLOW_IRET = 4;
export const FLOW_JMP = 5;
export const FLOW_JCC = 6;
export const FLOW_JMP_INDIRECT = 7;
export const FLOW_INT3 = 8;
export const FLOW_UD2 = 9;
export const FLOW_SYSCALL = 10;
export const FLOW_HLT = 11;
export const FLOW_SYSRET = 12;
/** `int n`, `int1`. */
export const FLOW_INT = 13;
/** Far call, jump and return. */
export const FLOW_FAR = 14;
/** Not an instruction, or it runs past the end of the bytes; the length is 0. */
export const FLOW_INVALID = 15;

export const FLOW_NAMES: readonly string[] = [
  'next',
  'call',
  'callIndirect',
  'ret',
  'iret',
  'jmp',
  'jcc',
  'jmpIndirect',
  'int3',
  'ud2',
  'syscall',
  'hlt',
  'sysret',
  'int',
  'far',
  'invalid',
];

export const FLOW_MASK = 0xf;

/** Which operand is written. */
export const WRITES = {
  /** Any that it names, registers that it does not name, and memory. */
  ANY: 0,
  /** None that it names. */
  NONE: 0x10,
  RM: 0x20,
  REG: 0x30,
  BOTH: 0x40,
  /** The register in the opcode's low bits. */
  OPCODE: 0x50,
  /** Not even that is known. */
  UNKNOWN: 0x60,
} as const;

export const WRITES_MASK = 0xf0;

/** What it does to the stack pointer, or on the stack. */
export const STACK = {
  NONE: 0,
  /** The register in the opcode's low bits. */
  PUSH_REG: 0x100,
  POP_REG: 0x200,
  /** A constant, flags, memory, a segment register. */
  PUSH: 0x300,
  /** Flags. */
  POP: 0x400,
  POP_SEGMENT: 0x500,
  POP_RM: 0x600,
  CALL: 0x700,
  RET: 0x800,
  IRET: 0x900,
  ENTER: 0xa00,
  LEAVE: 0xb00,
  /** Where rm is the stack pointer: it plus, minus, and a constant or a register. */
  ADD_IMM: 0xc00,
  SUB_IMM: 0xd00,
  AND_IMM: 0xe00,
  ADD_REG: 0xf00,
  SUB_REG: 0x1000,
  /** The other way round: the register operand is written. */
  SUB_FROM_REG: 0x1100,
  /** mov to rm, mov from rm, lea. */
  STORE: 0x1200,
  LOAD: 0x1300,
  LEA: 0x1400,
} as const;

export const STACK_MASK = 0x1f00;

/** Its operands are bytes. */
export const BYTE = 1 << 13;
/** May have a LOCK prefix, where rm is in memory. */
export const LOCKABLE = 1 << 14;
/** Again and again under a rep prefix. */
export const STRING = 1 << 15;
/** Reads or changes the machine beside registers, flags and memory, or waits for a device. */
export const MACHINE = 1 << 16;
/** Faults by the value of its operands. */
export const DIVIDES = 1 << 17;
export const NOP = 1 << 18;
/** The direction flag. */
export const SETS_DF = 1 << 19;
export const CLEARS_DF = 1 << 20;
/** Of a debug register. */
export const DEBUG_REGISTER = 1 << 21;
/** popf: of what is popped nothing stays on the stack. */
export const FLAGS = 1 << 22;
/** Its rm operand is a register: what names memory there is no instruction. */
export const REGISTER_RM = 1 << 23;
/** The same with a rep prefix alone. */
export const REP_REGISTER_RM = 1 << 24;
/** No instruction with 66, f2 or f3 before it. */
export const NO_PREFIX = 1 << 25;
