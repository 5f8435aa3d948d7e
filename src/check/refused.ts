// Instructions that Unicorn 2.0.1 ends the whole process for (`tcg fatal error`) when it merely meets them in a
// piece of code that it translates: a far call or jump through a register, which no processor has, and most
// instructions with a LOCK prefix that may have none. Compilers make neither; a damaged object has them.
//
// Invariant: what replaces them is an illegal instruction, as they are on a processor.

import type { Code } from '../objtool/insn.ts';
import { TEXT_LO } from './check_guest.ts';
import type { LoadedText } from './loaded_text.ts';

const LOCK = 0xf0;
const PREFIXES = new Set([0x26, 0x2e, 0x36, 0x3e, 0x64, 0x65, 0x66, 0x67, 0xf2, 0xf3, LOCK]);
/** Opcodes that write to their modrm operand; with LOCK that must be memory. */
const LOCKABLE = new Set([
  0x00, 0x01, 0x08, 0x09, 0x10, 0x11, 0x18, 0x19, 0x20, 0x21, 0x28, 0x29, 0x30, 0x31, 0x86, 0x87, 0x0fab,
  0x0fb0, 0x0fb1, 0x0fb3, 0x0fbb, 0x0fc0, 0x0fc1, 0x0fc7,
]);
/** Of opcodes that the modrm byte extends, the extensions that may be locked, as bits. */
const LOCKABLE_GROUPS: ReadonlyMap<number, number> = new Map([
  [0x80, 0x7f],
  [0x81, 0x7f],
  [0x83, 0x7f],
  [0xf6, 0x0c],
  [0xf7, 0x0c],
  [0xfe, 0x03],
  [0xff, 0x03],
  [0x0fba, 0xe0],
]);
/** Extensions of 0xff: far call and far jump. */
const FAR = 0x28;

/** Puts illegal instructions where the engine must not meet what is there. */
export function replaceRefused({ bytes, start }: LoadedText, code: Code): void {
  for (let insn = 1; insn < code.count; insn++) {
    const section = start[code.section[insn]];
    if (section === 0 || code.length[insn] < 2) continue;
    const at = section - TEXT_LO + code.offset[insn];
    if (isRefused(bytes, at, code.length[insn])) {
      bytes[at] = 0x0f;
      bytes[at + 1] = 0x0b;
    }
  }
}

export function isRefused(bytes: Uint8Array, start: number, length: number): boolean {
  let at = start;
  let locked = false;
  for (const end = start + length; at < end && (PREFIXES.has(bytes[at]) || isRex(bytes[at])); at++) {
    locked ||= bytes[at] === LOCK;
  }
  const opcode = bytes[at] === 0x0f ? 0x0f00 | bytes[++at] : bytes[at];
  const modrm = bytes[at + 1];
  const extension = 1 << ((modrm >> 3) & 7);
  const isMemory = modrm < 0xc0;
  if (opcode === 0xff && !isMemory && (extension & FAR) !== 0) return true;
  if (!locked) return false;
  return !isMemory || !(LOCKABLE.has(opcode) || ((LOCKABLE_GROUPS.get(opcode) ?? 0) & extension) !== 0);
}

const isRex = (byte: number): boolean => byte >> 4 === 4;
