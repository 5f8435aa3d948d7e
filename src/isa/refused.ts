// Instructions that a processor does not execute and Unicorn does not refuse: it ends the whole process (`tcg fatal
// error`) when it merely meets them in a piece of code that it translates, or executes them. A far call or jump
// through a register, which no processor has, and a LOCK prefix where there may be none. Compilers make neither; a
// damaged object and hand-written code have them.
//
// One table for both who keep the engine from them: `check` (src/check/refused.ts) and the machine
// (src/machine/cpu/text_guard.ts).

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

/** `length` bytes from `start` are one instruction. */
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
