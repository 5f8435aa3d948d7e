// The operations of the core. An instruction is one or several; whoever decodes (engine/translate) writes their numbers,
// the loop (loop.ts) executes them. Read by both.
//
// Invariant: of an instruction's operations only those before its first change of anything may fault.

/** log2 of an operand's size in bytes: added to an operation that exists in several sizes. */
export const B = 0;
export const W = 1;
export const D = 2;
export const Q = 3;

// a <- a op b
export const ADD = 0;
export const OR = 4;
export const ADC = 8;
export const SBB = 12;
export const AND = 16;
export const SUB = 20;
export const XOR = 24;
/** Flags of a - b, and of a & b. */
export const CMP = 28;
export const TEST = 32;
// a <- op a
export const INC = 36;
export const DEC = 40;
export const NEG = 44;
export const NOT = 48;
/** a <- b */
export const MOV = 52;
/** a <- memory at b + disp */
export const LOAD = 56;
/** The same, of what is written afterwards: it must be writable. */
export const LOAD_TO_WRITE = 60;
/** memory at b + disp <- a */
export const STORE = 64;
/** Shifts and rotations of a by b. */
export const SHL = 68;
export const SHR = 72;
export const SAR = 76;
export const ROL = 80;
export const ROR = 84;
export const RCL = 88;
export const RCR = 92;
/** a shifted by the low byte of c, with bits of b shifted in. W, D, Q. */
export const SHLD = 96;
export const SHRD = 100;
/** a <-> b */
export const XCHG = 104;
/** b <- a, a <- a + b */
export const XADD = 108;
/** a is compared with rax; equal: a <- b, else rax <- a */
export const CMPXCHG = 112;
/** rdx:rax <- rax * b; ax <- al * b */
export const MUL = 116;
export const IMUL1 = 120;
export const DIV = 124;
export const IDIV = 128;
/** a <- b * c, with the flags of a multiplication. W, D, Q. */
export const IMUL = 132;
/** Bits of a, by the number in b modulo the size. W, D, Q. */
export const BT = 136;
export const BTS = 140;
export const BTR = 144;
export const BTC = 148;
/** a <- of b. W, D, Q. */
export const BSF = 152;
export const BSR = 156;
export const TZCNT = 160;
export const LZCNT = 164;
export const POPCNT = 168;
/** a <- its bytes in reverse order. W for movbe. */
export const BSWAP = 172;
/** a <- b with zeros or the sign above it. The size is the destination's. */
export const MOVZX8 = 176;
export const MOVZX16 = 180;
export const MOVSX8 = 184;
export const MOVSX16 = 188;
export const MOVSX32 = 192;
/** Sign of rax into rdx: cwd, cdq, cqo. */
export const CWD = 196;
/** Strings: once, or, REP added, while rcx is not 0 and (cmps, scas: imm is 1 for repe, 0 for repne) the comparison agrees. */
export const MOVS = 200;
export const STOS = 204;
export const LODS = 208;
export const CMPS = 212;
export const SCAS = 216;
export const REP_MOVS = 220;
export const REP_STOS = 224;
export const REP_LODS = 228;
export const REP_CMPS = 232;
export const REP_SCAS = 236;
/** a <- memory at b + disp, with zeros or the sign above it: LOAD, then MOVZX. The size is the destination's. */
export const LOAD_ZX8 = 240;
export const LOAD_ZX16 = 244;
export const LOAD_SX8 = 248;
export const LOAD_SX16 = 252;
export const LOAD_SX32 = 256;
/** a <- c when the condition in imm holds; the upper half of a is cleared for D in any case. W, D, Q. */
export const CMOV = 260;

// Of one size.
/** a <- b + (c << the scale in imm's low byte) + disp */
export const LEA = 264;
/** The same, with the low 32 bits of the sum. */
export const LEA32 = 265;
/** a <- a + b: a segment's base. */
export const ADD_SEGMENT = 266;
/** a <- 1 or 0 (a byte): the condition in imm. */
export const SETCC = 267;
export const PUSH = 268;
export const POP = 269;
export const PUSH16 = 270;
export const POP16 = 271;
/** b of these four: 1 where they are of 16 bits. */
export const PUSHF = 272;
export const POPF = 273;
export const LEAVE = 274;
/** imm: bytes of locals; c: nesting level. */
export const ENTER = 275;
/** Flags. */
export const CLC = 276;
export const STC = 277;
export const CMC = 278;
export const CLD = 279;
export const STD = 280;
export const LAHF = 281;
export const SAHF = 282;
export const CLI = 283;
export const STI = 284;
export const CLAC = 285;
export const STAC = 286;
export const XLAT = 287;
/** b's offset in bits / 8, whole operands of the size 1 << imm bytes, is added to a. */
export const ADD_BIT_OFFSET = 288;
/** 16 or 8 bytes at b + disp (its low bits imm: log2 of the size) are compared with rdx:rax; equal: rcx:rbx is stored. */
export const CMPXCHG16B = 289;
export const CMPXCHG8B = 290;
export const NOP = 291;
export const SWAPGS = 292;
export const RDTSC = 293;
export const CPUID = 294;
export const RDRAND = 297;
export const XGETBV = 298;
/** CR3 <- a */
export const LOAD_SPACE = 299;

// What ends a block. Of these, imm is the address that it leads to, and `link` the block there once it is known.
/** Goes on behind a block that ends without a jump, or behind a branch that is not taken: the operation after it. */
export const GOTO = 300;
export const JMP = 301;
/** 16 conditions in the order of the manual: o no b ae e ne be a s ns p np l ge le g. */
export const JCC = 302;
export const CALL = 318;
/** c: 0 loopne, 1 loope, 2 loop, 3 jrcxz; b: 1 when ecx counts. */
export const LOOP = 319;
/** Jumps where a says. */
export const JMP_INDIRECT = 320;
/** Calls what a says; imm is the return address. */
export const CALL_INDIRECT = 321;
/** imm: bytes to be dropped. */
export const RET = 322;
export const IRET = 323;
export const SYSRET = 324;
/** Ends the run: imm is the STOP_ code, c is 1 when the instruction is done, so that rip is behind it. */
export const STOP_HERE = 325;
/** The budget ends in the middle of a block; written over an operation for the time of a run. */
export const BUDGET_HERE = 326;
/** The text of the block was changed: written over the operations of one that is no more, in case it is being executed. */
export const CHANGED_HERE = 327;
/** Calls and returns of the kernel, noted (shadow.ts); into ftrace trampolines and out of them, which is noted besides. */
export const CALL_NOTED = 328;
export const CALL_TRAMPOLINE = 329;
export const CALL_INDIRECT_NOTED = 330;
export const RET_NOTED = 331;
export const RET_TRAMPOLINE = 332;
/** A breakpoint: the run ends before this instruction, unless it is to be passed. observe.ts, as the two below */
export const BREAK_HERE = 333;
/**
 * An instruction begins. a: its counter, or 0; b: bits: 1 where a block begins that is told of, 2 where the instruction's
 * number is wanted; c: EVENT_CALL or EVENT_RETURN where it is one that is told of.
 */
export const OBSERVED = 334;
/** Stores that wait are no longer held. */
export const DRAIN = 335;

/** Vector operations: 384 and up, called through a table (vector.ts). */
export const VECTOR = 384;

// Why a run ended.
export const STOP_BUDGET = 0;
export const STOP_BLOCK_END = 1;
/** No block at RIP: it is to be decoded. */
export const STOP_DECODE = 2;
export const STOP_HALT = 3;
export const STOP_SYSCALL = 4;
export const STOP_TRAP = 5;
export const STOP_UNDEFINED = 6;
export const STOP_REFUSED = 7;
export const STOP_PAGE_FAULT = 8;
/** #GP with STOP_CODE. */
export const STOP_PROTECTION = 9;
export const STOP_DIVIDE = 10;
/** Before an instruction that the engine does (engine/machine_instructions.ts). */
export const STOP_MACHINE = 12;
/** #XM: a SIMD floating-point exception that MXCSR does not mask. */
export const STOP_SIMD = 13;
export const STOP_BREAKPOINT = 14;
/** Before an instruction that accesses what is watched. */
export const STOP_WATCHED = 15;

export const READ = 0;
export const WRITE = 1;
export const FETCH = 2;
