// What follows each opcode byte in 64-bit mode: ModRM, an immediate of which size, nothing.
// Intel SDM volume 2, appendix A: the one-byte map and the 0F map.

export const OP = {
  MODRM: 1,
  IMM8: 2,
  IMM16: 4,
  /** 4 bytes, 2 with an operand-size prefix. */
  IMMZ: 8,
  /** As IMMZ, 8 with REX.W. */
  IMMV: 16,
  MOFFS: 32,
  /** f6 and f7: an immediate only for `test`. */
  GROUP3: 64,
  IMM32: 128,
  /** One more byte: the level of `enter`. */
  IMM8_MORE: 256,
  INVALID: 512,
  PREFIX: 1024,
} as const;

type Row = readonly [from: number, to: number, form: number];

function table(rows: readonly Row[]): Uint16Array {
  const map = new Uint16Array(256);
  for (const [from, to, form] of rows) map.fill(form, from, to + 1);
  return map;
}

const { MODRM, IMM8, IMM16, IMMZ, IMMV, MOFFS, GROUP3, IMM32, IMM8_MORE, INVALID, PREFIX } = OP;

/** add or adc sbb and sub xor cmp: the same eight bytes each. */
const arithmetic: Row[] = Array.from({ length: 8 }, (_, i): Row[] => [
  [i * 8, i * 8 + 3, MODRM],
  [i * 8 + 4, i * 8 + 4, IMM8],
  [i * 8 + 5, i * 8 + 5, IMMZ],
  [i * 8 + 6, i * 8 + 7, INVALID],
]).flat();

export const MAP_ONE = table([
  ...arithmetic,
  [0x26, 0x26, PREFIX],
  [0x2e, 0x2e, PREFIX],
  [0x36, 0x36, PREFIX],
  [0x3e, 0x3e, PREFIX],
  [0x40, 0x4f, PREFIX],
  [0x60, 0x61, INVALID],
  [0x63, 0x63, MODRM],
  [0x64, 0x67, PREFIX],
  [0x68, 0x68, IMMZ],
  [0x69, 0x69, MODRM | IMMZ],
  [0x6a, 0x6a, IMM8],
  [0x6b, 0x6b, MODRM | IMM8],
  [0x70, 0x7f, IMM8],
  [0x80, 0x80, MODRM | IMM8],
  [0x81, 0x81, MODRM | IMMZ],
  [0x82, 0x82, INVALID],
  [0x83, 0x83, MODRM | IMM8],
  [0x84, 0x8f, MODRM],
  [0x9a, 0x9a, INVALID],
  [0xa0, 0xa3, MOFFS],
  [0xa8, 0xa8, IMM8],
  [0xa9, 0xa9, IMMZ],
  [0xb0, 0xb7, IMM8],
  [0xb8, 0xbf, IMMV],
  [0xc0, 0xc1, MODRM | IMM8],
  [0xc2, 0xc2, IMM16],
  [0xc6, 0xc6, MODRM | IMM8],
  [0xc7, 0xc7, MODRM | IMMZ],
  [0xc8, 0xc8, IMM16 | IMM8_MORE],
  [0xca, 0xca, IMM16],
  [0xcd, 0xcd, IMM8],
  [0xce, 0xce, INVALID],
  [0xd0, 0xd3, MODRM],
  [0xd4, 0xd6, INVALID],
  [0xd8, 0xdf, MODRM],
  [0xe0, 0xe7, IMM8],
  [0xe8, 0xe9, IMM32],
  [0xea, 0xea, INVALID],
  [0xeb, 0xeb, IMM8],
  [0xf0, 0xf0, PREFIX],
  [0xf2, 0xf3, PREFIX],
  [0xf6, 0xf7, MODRM | GROUP3],
  [0xfe, 0xff, MODRM],
]);

export const MAP_0F = table([
  [0x00, 0xff, MODRM],
  [0x04, 0x04, INVALID],
  [0x05, 0x09, 0],
  [0x0a, 0x0a, INVALID],
  [0x0b, 0x0b, 0],
  [0x0c, 0x0c, INVALID],
  [0x0e, 0x0e, 0],
  [0x0f, 0x0f, MODRM | IMM8],
  [0x24, 0x27, INVALID],
  [0x30, 0x35, 0],
  [0x36, 0x36, INVALID],
  [0x37, 0x37, 0],
  [0x39, 0x39, INVALID],
  [0x3b, 0x3f, INVALID],
  [0x70, 0x73, MODRM | IMM8],
  [0x77, 0x77, 0],
  [0x7a, 0x7b, INVALID],
  [0x80, 0x8f, IMM32],
  [0xa0, 0xa2, 0],
  [0xa4, 0xa4, MODRM | IMM8],
  [0xa8, 0xaa, 0],
  [0xac, 0xac, MODRM | IMM8],
  [0xba, 0xba, MODRM | IMM8],
  [0xc2, 0xc2, MODRM | IMM8],
  [0xc4, 0xc6, MODRM | IMM8],
  [0xc8, 0xcf, 0],
]);

export const MAP_0F38: number = MODRM;
export const MAP_0F3A: number = MODRM | IMM8;
