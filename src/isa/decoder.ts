// Length, flow and operand fields of one instruction, for analysis and for stepping block by block.
//
// A table decoder of our own, because it stands on the path to the first instruction and in
// hot loops: iced-x86 takes 70 ms to load and a seventh of the speed. test/isa/decoder.test.ts
// holds it against iced-x86, instruction by instruction, over whole kernel modules.
//
// Invariant: nothing is allocated per instruction; the result is valid until the next decode.

import { MAP_0F, MAP_0F3A, MAP_0F38, MAP_ONE, OP } from './opcode_map.ts';

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

export const REX_B = 1;
export const REX_X = 2;
export const REX_R = 4;
export const REX_W = 8;
export const NO_INDEX = 4;

/** The longest instruction the CPU takes. */
const MAX_LENGTH = 15;

export class Insn {
  length = 0;
  flow = FLOW_INVALID;
  /** Low 32 bits of a direct branch's target. */
  target = 0;
  /** 0xNN, 0x0fNN, 0x0f38NN or 0x0f3aNN; 0 for VEX, EVEX and XOP. */
  opcode = 0;
  rex = 0;
  /** 0xf2, 0xf3 or 0: the last of them. */
  rep = 0;
  opsize16 = false;
  vex = false;
  /** Segment override byte (0x64 fs, 0x65 gs, 0x3e notrack), or 0. */
  segment = 0;
  hasModrm = false;
  mod = 0;
  /** With the REX bits: 0 to 15. */
  reg = 0;
  rm = 0;
  hasSib = false;
  sibBase = 0;
  sibIndex = 0;
  /** The index is shifted left by so many bits. */
  sibScale = 0;
  ripRelative = false;
  disp = 0;
  /** Low 32 bits of the immediate, sign-extended from its own size. */
  imm = 0;
  immSize = 0;
}

export interface Block {
  /** Instructions up to and with the first control transfer, or up to the end of the bytes. */
  instructions: number;
  bytes: number;
  /** Flow of the last instruction; FLOW_NEXT when the bytes ended first. */
  kind: number;
  /** Offset of the last instruction. */
  last: number;
  /** Low 32 bits of the last instruction's target, if it has one. */
  target: number;
  /** A `rep` string instruction is among them: it may be counted many times when executed. */
  repeats: boolean;
}

const shared = new Insn();
const sharedBlock: Block = { instructions: 0, bytes: 0, kind: FLOW_NEXT, last: 0, target: 0, repeats: false };

function signedAt(bytes: Uint8Array, at: number, size: number): number {
  const b = bytes;
  if (size === 1) return ((b[at] as number) << 24) >> 24;
  if (size === 2) return (((b[at] as number) | ((b[at + 1] as number) << 8)) << 16) >> 16;
  return (
    (b[at] as number) |
    ((b[at + 1] as number) << 8) |
    ((b[at + 2] as number) << 16) |
    ((b[at + 3] as number) << 24)
  );
}

/**
 * Decodes the instruction at `offset`, whose address ends in `ipLo`. `into` is filled and returned;
 * by default one object shared by all callers.
 */
export function decodeAt(bytes: Uint8Array, offset: number, ipLo: number, into: Insn = shared): Insn {
  const insn = into;
  insn.rex = 0;
  insn.rep = 0;
  insn.segment = 0;
  insn.opsize16 = false;
  insn.vex = false;
  insn.hasModrm = false;
  insn.hasSib = false;
  insn.ripRelative = false;
  insn.target = 0;
  insn.disp = 0;
  insn.imm = 0;
  insn.immSize = 0;
  let at = offset;
  let addr32 = false;
  let byte = bytes[at++] as number;
  for (; MAP_ONE[byte] === OP.PREFIX; byte = bytes[at++] as number) {
    if (byte >= 0x40 && byte < 0x50) insn.rex = byte & 0xf;
    else {
      insn.rex = 0; // a REX that is not the last prefix does not count
      if (byte === 0x66) insn.opsize16 = true;
      else if (byte === 0x67) addr32 = true;
      else if (byte === 0xf2 || byte === 0xf3) insn.rep = byte;
      else if (byte !== 0xf0) insn.segment = byte;
    }
    if (at - offset >= MAX_LENGTH) return invalid(insn);
  }
  let form: number;
  if (
    byte === 0xc4 ||
    byte === 0xc5 ||
    byte === 0x62 ||
    (byte === 0x8f && ((bytes[at] as number) & 0x38) !== 0)
  ) {
    insn.vex = true;
    insn.opcode = 0;
    at = vexOpcode(bytes, at, byte);
    form = vexForm;
  } else if (byte !== 0x0f) {
    insn.opcode = byte;
    form = MAP_ONE[byte] as number;
  } else {
    byte = bytes[at++] as number;
    insn.opcode = 0x0f00 | byte;
    form = MAP_0F[byte] as number;
    if (byte === 0x38 || byte === 0x3a) {
      const third = bytes[at++] as number;
      insn.opcode = (0x0f00 | byte) * 256 + third;
      form = byte === 0x38 ? (MAP_0F38 as number) : (MAP_0F3A as number);
    }
  }
  if (form === undefined || form & OP.INVALID) return invalid(insn);
  if (form & OP.MODRM) at = readModrm(bytes, at, insn);
  at = readImmediate(bytes, at, form, addr32, insn);
  // Reads past the end give undefined, and a sum with it NaN: both fail here.
  if (!(at <= bytes.length) || at - offset > MAX_LENGTH) return invalid(insn);
  insn.length = at - offset;
  insn.flow = flowOf(insn);
  if (insn.flow === FLOW_CALL || insn.flow === FLOW_JMP || insn.flow === FLOW_JCC) {
    insn.target = (ipLo + insn.length + insn.imm) >>> 0;
  }
  return insn;
}

function invalid(insn: Insn): Insn {
  insn.length = 0;
  insn.flow = FLOW_INVALID;
  return insn;
}

let vexForm = 0;

/** Position after the opcode of a VEX, EVEX or XOP instruction; its form in `vexForm`. */
function vexOpcode(bytes: Uint8Array, start: number, prefix: number): number {
  let map = 1;
  let at = start + 1;
  if (prefix !== 0xc5) {
    map = (bytes[start] as number) & (prefix === 0x62 ? 7 : 0x1f);
    at = start + (prefix === 0x62 ? 3 : 2);
  }
  const opcode = bytes[at] as number;
  vexForm = OP.MODRM;
  if (map === 1) {
    if (opcode === 0x77 && prefix !== 0x62) vexForm = 0;
    else if ((opcode >= 0x70 && opcode <= 0x73) || opcode === 0xc2 || (opcode >= 0xc4 && opcode <= 0xc6)) {
      vexForm |= OP.IMM8;
    }
  } else if (map === 3 || map === 8) vexForm |= OP.IMM8;
  else if (map === 10) vexForm |= OP.IMM32;
  else if (map === 0 || (map > 6 && map !== 9)) vexForm = OP.INVALID;
  return at + 1;
}

function readModrm(bytes: Uint8Array, start: number, insn: Insn): number {
  let at = start;
  const modrm = bytes[at++] as number;
  const rex = insn.rex;
  const mod = modrm >> 6;
  insn.hasModrm = true;
  insn.mod = mod;
  insn.reg = ((modrm >> 3) & 7) | ((rex & REX_R) << 1);
  insn.rm = (modrm & 7) | ((rex & REX_B) << 3);
  // mov to and from cr and dr: the mode bits do not count.
  if (insn.opcode >= 0x0f20 && insn.opcode <= 0x0f23) insn.mod = 3;
  if (insn.mod === 3) return at;
  let base = modrm & 7;
  if (base === 4) {
    const sib = bytes[at++] as number;
    base = sib & 7;
    insn.hasSib = true;
    insn.sibBase = base | ((rex & REX_B) << 3);
    insn.sibScale = sib >> 6;
    insn.sibIndex = ((sib >> 3) & 7) | ((rex & REX_X) << 2);
  }
  if (mod === 1) {
    insn.disp = signedAt(bytes, at, 1);
    return at + 1;
  }
  if (mod === 2 || base === 5) {
    insn.ripRelative = mod === 0 && !insn.hasSib;
    insn.disp = signedAt(bytes, at, 4);
    return at + 4;
  }
  return at;
}

function readImmediate(bytes: Uint8Array, start: number, form: number, addr32: boolean, insn: Insn): number {
  let size = 0;
  if (form & OP.IMM8) size = 1;
  else if (form & OP.IMM16) size = 2;
  else if (form & OP.IMM32) size = 4;
  else if (form & OP.IMMZ) size = insn.opsize16 && !(insn.rex & REX_W) ? 2 : 4;
  else if (form & OP.IMMV) size = insn.rex & REX_W ? 8 : insn.opsize16 ? 2 : 4;
  else if (form & OP.MOFFS) size = addr32 ? 4 : 8;
  else if (form & OP.GROUP3 && (insn.reg & 7) < 2) {
    size = insn.opcode === 0xf6 ? 1 : insn.opsize16 && !(insn.rex & REX_W) ? 2 : 4;
  }
  insn.immSize = size;
  if (size > 0) insn.imm = signedAt(bytes, start, size);
  return start + size + (form & OP.IMM8_MORE ? 1 : 0);
}

function flowOf(insn: Insn): number {
  const op = insn.opcode;
  if (op < 0x70) return FLOW_NEXT;
  if (op <= 0x7f) return FLOW_JCC;
  switch (op) {
    case 0xc2:
    case 0xc3:
      return FLOW_RET;
    case 0xca:
    case 0xcb:
      return FLOW_FAR;
    case 0xcc:
      return FLOW_INT3;
    case 0xcd:
    case 0xf1:
      return FLOW_INT;
    case 0xcf:
      return FLOW_IRET;
    case 0xe0:
    case 0xe1:
    case 0xe2:
    case 0xe3:
      return FLOW_JCC;
    case 0xe8:
      return FLOW_CALL;
    case 0xe9:
    case 0xeb:
      return FLOW_JMP;
    case 0xf4:
      return FLOW_HLT;
    case 0xff:
      return flowOfGroup5(insn.reg & 7);
    case 0x0f05:
    case 0x0f34:
      return FLOW_SYSCALL;
    case 0x0f07:
    case 0x0f35:
      return FLOW_SYSRET;
    case 0x0f0b:
    case 0x0fb9:
    case 0x0fff:
      return FLOW_UD2;
    default:
      return op >= 0x0f80 && op <= 0x0f8f ? FLOW_JCC : FLOW_NEXT;
  }
}

function flowOfGroup5(extension: number): number {
  if (extension === 2) return FLOW_CALL_INDIRECT;
  if (extension === 4) return FLOW_JMP_INDIRECT;
  return extension === 3 || extension === 5 ? FLOW_FAR : FLOW_NEXT;
}

/** movs, cmps, stos, lods, scas, ins and outs run again and again under a rep prefix. */
function isRepeated(insn: Insn): boolean {
  const op = insn.opcode;
  if (insn.rep === 0) return false;
  return (op >= 0xa4 && op <= 0xa7) || (op >= 0xaa && op <= 0xaf) || (op >= 0x6c && op <= 0x6f);
}

/**
 * The straight run from `offset`: through the first instruction that may go elsewhere. An
 * undecodable one ends the run before it with FLOW_INVALID. `limit` bounds the instructions.
 */
export function blockLength(
  bytes: Uint8Array,
  offset: number,
  ipLo: number,
  limit = Number.MAX_SAFE_INTEGER,
): Block {
  const block = sharedBlock;
  let at = offset;
  block.instructions = 0;
  block.kind = FLOW_NEXT;
  block.last = offset;
  block.target = 0;
  block.repeats = false;
  while (at < bytes.length && block.instructions < limit) {
    const insn = decodeAt(bytes, at, ipLo + (at - offset), shared);
    block.kind = insn.flow;
    if (insn.flow === FLOW_INVALID) break;
    block.instructions++;
    block.last = at;
    block.target = insn.target;
    if (isRepeated(insn)) block.repeats = true;
    at += insn.length;
    if (insn.flow !== FLOW_NEXT) break;
  }
  block.bytes = at - offset;
  return block;
}
