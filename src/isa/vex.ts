// The prefixes VEX, EVEX and XOP, which name a map, a third operand, a length and a mask. Intel SDM volume 2, 2.3 and 2.7.
//
// Invariant: what they say is one number (Insn.vexBits), the opcode in its low byte; inverted bits are as they are meant.

const MAP = 8;
const PP = 13;
const W = 15;
const L = 16;
const VVVV = 18;
const MASK = 23;
const Z = 26;
const BROADCAST = 27;
const HIGH_REG = 28;
const HIGH_RM = 29;
const EVEX = 30;
/** Reserved bits are not as they must be. */
const RESERVED = 31;

export const opcodeOf = (bits: number): number => bits & 0xff;
/** 1, 2, 3 for 0F, 0F38, 0F3A. */
export const mapOf = (bits: number): number => (bits >> MAP) & 0x1f;
/** 0, 1, 2, 3 for none, 66, F3, F2. */
export const ppOf = (bits: number): number => (bits >> PP) & 3;
export const wOf = (bits: number): boolean => ((bits >> W) & 1) !== 0;
/** 0, 1, 2 for 128, 256, 512 bits. */
export const lengthOf = (bits: number): number => (bits >> L) & 3;
/** The other source, 0 to 31; 0 where it must not name one. */
export const vvvvOf = (bits: number): number => (bits >> VVVV) & 0x1f;
export const maskOf = (bits: number): number => (bits >> MASK) & 7;
export const zeroes = (bits: number): boolean => ((bits >> Z) & 1) !== 0;
/** Broadcast of memory; of registers it is a rounding of its own. */
export const broadcasts = (bits: number): boolean => ((bits >> BROADCAST) & 1) !== 0;
/** 16 for the upper sixteen registers, beside `reg` and, for a vector register, `rm`. */
export const highReg = (bits: number): number => ((bits >> HIGH_REG) & 1) << 4;
export const highRm = (bits: number): number => ((bits >> HIGH_RM) & 1) << 4;
export const isEvex = (bits: number): boolean => ((bits >> EVEX) & 1) !== 0;
export const hasReserved = (bits: number): boolean => bits >>> RESERVED !== 0;

/** Bytes between the prefix's first and the opcode. */
export const vexLength = (prefix: number): number => (prefix === 0xc5 ? 1 : prefix === 0x62 ? 3 : 2);

/** R, X, B and W as REX has them. */
export function rexOf(bytes: Uint8Array, start: number, prefix: number): number {
  const first = ~(bytes[start] as number);
  if (prefix === 0xc5) return (first >> 5) & 4;
  return ((first >> 5) & 7) | (((bytes[start + 1] as number) >> 4) & 8);
}

/** All but the opcode. */
export function vexBitsOf(bytes: Uint8Array, start: number, prefix: number): number {
  const first = bytes[start] as number;
  if (prefix === 0xc5) return (1 << MAP) | common(first) | (((first >> 2) & 1) << L);
  const second = bytes[start + 1] as number;
  const w = (second >> 7) << W;
  if (prefix !== 0x62) return ((first & 0x1f) << MAP) | common(second) | w | (((second >> 2) & 1) << L);
  const third = bytes[start + 2] as number;
  const upper = (~first & 0x10) << (HIGH_REG - 4);
  const upperRm = (~first & 0x40) << (HIGH_RM - 6);
  const reserved = (first & 8) !== 0 || (second & 4) === 0 ? 1 << RESERVED : 0;
  return (
    ((first & 7) << MAP) |
    (common(second) | w | upper | upperRm | reserved | (1 << EVEX)) |
    ((third >> 7) << Z) |
    (((third >> 5) & 3) << L) |
    (((third >> 4) & 1) << BROADCAST) |
    ((~third & 8) << (VVVV + 4 - 3)) |
    ((third & 7) << MASK)
  );
}

/** pp and vvvv of the byte that has both. */
const common = (byte: number): number => ((byte & 3) << PP) | (((~byte >> 3) & 0xf) << VVVV);
