// Length, flow and operand fields of one instruction, for analysis and for stepping block by block.
//
// A table decoder of our own, because it stands on the path to the first instruction and in
// hot loops: iced-x86 takes 70 ms to load and a seventh of the speed. test/isa/decoder.test.ts
// holds it against iced-x86, instruction by instruction, over whole kernel modules.
//
// Invariant: nothing is allocated per instruction; the result is valid until the next decode.

import { FLOW_CALL, FLOW_INVALID, FLOW_JCC, FLOW_JMP, FLOW_MASK, FLOW_NEXT, FORM, STRING } from './facts.ts';
import { FACTS_0F, FACTS_ONE, FORM_0F, FORM_0F3A, FORM_0F38, FORM_ONE } from './opcodes.ts';
import { mapOf, rexOf, vexBitsOf, vexLength } from './vex.ts';

export * from './facts.ts';
export { OPCODE } from './opcodes.ts';

export const REX_B = 1;
const REX_X = 2;
const REX_R = 4;
export const REX_W = 8;
export const NO_INDEX = 4;

/** A prefix other than REX. */
export const isPrefix = (byte: number): boolean => FORM_ONE[byte] === FORM.PREFIX && !isRex(byte);
export const isRex = (byte: number): boolean => byte >> 4 === 4;

/** The longest instruction the CPU takes. */
export const MAX_LENGTH = 15;

export class Insn {
  length = 0;
  flow = FLOW_INVALID;
  /** What the table of opcodes says of it (facts.ts); 0 for VEX, EVEX and XOP, and the maps behind 0F. */
  facts = 0;
  /** Low 32 bits of a direct branch's target. */
  target = 0;
  /** 0xNN, 0x0fNN, 0x0f38NN or 0x0f3aNN; 0 for VEX, EVEX and XFORM. */
  opcode = 0;
  rex = 0;
  /** Has a REX prefix that counts, whatever its bits: byte registers 4 to 7 are spl to dil, not ah to bh. */
  hasRex = false;
  /** An address-size prefix. */
  addr32 = false;
  /** 0xf2, 0xf3 or 0: the last of them. */
  rep = 0;
  locked = false;
  opsize16 = false;
  /** VEX, EVEX or XOP. Its R, X, B and W are in `rex`, the rest in `vexBits`. */
  vex = false;
  /** What such a prefix says, as vex.ts reads it; of another instruction it means nothing. */
  vexBits = 0;
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

interface Block {
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
 * Decodes the instruction at `offset`, whose address ends in `ipLo`. `into` is filled and returned, every field of it,
 * whatever was in it; by default one object shared by all callers.
 */
export function decodeAt(bytes: Uint8Array, offset: number, ipLo: number, into: Insn = shared): Insn {
  const insn = into;
  insn.rex = 0;
  insn.hasRex = false;
  insn.addr32 = false;
  insn.rep = 0;
  insn.segment = 0;
  insn.locked = false;
  insn.opsize16 = false;
  insn.vex = false;
  insn.vexBits = 0;
  insn.opcode = 0;
  insn.hasModrm = false;
  insn.mod = 0;
  insn.reg = 0;
  insn.rm = 0;
  insn.hasSib = false;
  insn.sibBase = 0;
  insn.sibIndex = 0;
  insn.sibScale = 0;
  insn.ripRelative = false;
  insn.target = 0;
  insn.disp = 0;
  insn.imm = 0;
  insn.immSize = 0;
  let at = offset;
  let byte = bytes[at++] as number;
  for (; FORM_ONE[byte] === FORM.PREFIX; byte = bytes[at++] as number) {
    if (isRex(byte)) {
      insn.rex = byte & 0xf;
      insn.hasRex = true;
    } else {
      insn.rex = 0;
      insn.hasRex = false; // one that is not the last prefix does not count
      if (byte === 0x66) insn.opsize16 = true;
      else if (byte === 0x67) insn.addr32 = true;
      else if (byte === 0xf2 || byte === 0xf3) insn.rep = byte;
      else if (byte === 0xf0) insn.locked = true;
      else insn.segment = byte;
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
    at = vexOpcode(bytes, at, byte, insn);
    form = vexForm;
  } else if (byte !== 0x0f) {
    insn.opcode = byte;
    form = FORM_ONE[byte] as number;
  } else {
    byte = bytes[at++] as number;
    insn.opcode = 0x0f00 | byte;
    form = FORM_0F[byte] as number;
    if (byte === 0x38 || byte === 0x3a) {
      const third = bytes[at++] as number;
      insn.opcode = (0x0f00 | byte) * 256 + third;
      form = byte === 0x38 ? FORM_0F38 : FORM_0F3A;
    }
  }
  if (form === undefined || form & FORM.INVALID) return invalid(insn);
  if (form & FORM.MODRM) at = readModrm(bytes, at, form, insn);
  at = readImmediate(bytes, at, form, insn);
  // Reads past the end give undefined, and a sum with it NaN: both fail here.
  if (!(at <= bytes.length) || at - offset > MAX_LENGTH) return invalid(insn);
  insn.length = at - offset;
  insn.facts = factsOf(insn);
  insn.flow = insn.facts & FLOW_MASK;
  if (insn.flow === FLOW_CALL || insn.flow === FLOW_JMP || insn.flow === FLOW_JCC) {
    insn.target = (ipLo + insn.length + insn.imm) >>> 0;
  }
  return insn;
}

function invalid(insn: Insn): Insn {
  insn.length = 0;
  insn.flow = FLOW_INVALID;
  insn.facts = FLOW_INVALID;
  return insn;
}

let vexForm = 0;

/** Position after the opcode of a VEX, EVEX or XOP instruction; its form in `vexForm`. */
function vexOpcode(bytes: Uint8Array, start: number, prefix: number, insn: Insn): number {
  const at = start + vexLength(prefix);
  const bits = vexBitsOf(bytes, start, prefix);
  const map = mapOf(bits);
  const opcode = bytes[at] as number;
  insn.vexBits = bits | opcode;
  insn.rex = rexOf(bytes, start, prefix);
  vexForm = FORM.MODRM;
  if (map === 1) {
    if (opcode === 0x77 && prefix !== 0x62) vexForm = 0;
    else if ((opcode >= 0x70 && opcode <= 0x73) || opcode === 0xc2 || (opcode >= 0xc4 && opcode <= 0xc6)) {
      vexForm |= FORM.IMM8;
    }
  } else if (map === 3 || map === 8) vexForm |= FORM.IMM8;
  else if (map === 10) vexForm |= FORM.IMM32;
  else if (map === 0 || (map > 6 && map !== 9)) vexForm = FORM.INVALID;
  return at + 1;
}

function readModrm(bytes: Uint8Array, start: number, form: number, insn: Insn): number {
  let at = start;
  const modrm = bytes[at++] as number;
  const rex = insn.rex;
  const mod = modrm >> 6;
  insn.hasModrm = true;
  insn.mod = mod;
  insn.reg = ((modrm >> 3) & 7) | ((rex & REX_R) << 1);
  insn.rm = (modrm & 7) | ((rex & REX_B) << 3);
  if (form & FORM.REGISTERS) insn.mod = 3;
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

const IMMEDIATE =
  FORM.IMM8 | FORM.IMM16 | FORM.IMM32 | FORM.IMMZ | FORM.IMMV | FORM.MOFFS | FORM.IMM_TEST | FORM.IMM8_MORE;

function readImmediate(bytes: Uint8Array, start: number, form: number, insn: Insn): number {
  if ((form & IMMEDIATE) === 0) return start;
  let size = 0;
  if (form & FORM.IMM8) size = 1;
  else if (form & FORM.IMM16) size = 2;
  else if (form & FORM.IMM32) size = 4;
  else if (form & FORM.IMMZ) size = insn.opsize16 && !(insn.rex & REX_W) ? 2 : 4;
  else if (form & FORM.IMMV) size = insn.rex & REX_W ? 8 : insn.opsize16 ? 2 : 4;
  else if (form & FORM.MOFFS) size = insn.addr32 ? 4 : 8;
  else if (form & FORM.IMM_TEST && (insn.reg & 7) < 2) {
    size = insn.opcode === 0xf6 ? 1 : insn.opsize16 && !(insn.rex & REX_W) ? 2 : 4;
  }
  insn.immSize = size;
  if (size > 0) insn.imm = signedAt(bytes, start, size);
  return start + size + (form & FORM.IMM8_MORE ? 1 : 0);
}

/** What the table of opcodes says. */
function factsOf(insn: Insn): number {
  const { opcode } = insn;
  if (insn.vex || opcode > 0x0fff) return 0;
  const row = ((opcode & 0xff) << 3) | (insn.hasModrm ? insn.reg & 7 : 0);
  return (opcode < 0x100 ? FACTS_ONE[row] : FACTS_0F[row]) as number;
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
    if (insn.rep !== 0 && insn.facts & STRING) block.repeats = true;
    at += insn.length;
    if (insn.flow !== FLOW_NEXT) break;
  }
  block.bytes = at - offset;
  return block;
}
