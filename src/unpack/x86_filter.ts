// The x86 filter of xz, backwards: the operands of call and jmp, packed as absolute addresses, become relative again.
//
// An opcode byte may be a byte of another instruction's operand: which ones count follows from the three bytes before
// and from the operand's top byte, by the same rule when packing and unpacking.

const OPERAND = 4;
/** By which of the last three bytes were opcodes that were left alone: how far the nearest one that matters is. */
const DISTANCE = [0, 1, 2, undefined, 3, undefined, undefined, undefined] as const;

/** The top byte of an operand that the filter takes: a distance below 16 MiB, either way. */
const near = (byte: number): boolean => byte === 0 || byte === 0xff;

/** In place. @param origin address of the first byte */
export function unfilterX86(bytes: Uint8Array, origin: number): void {
  /** Bit k: the byte k + 1 back was an opcode that was left alone. */
  let alone = 0;
  const end = bytes.length - OPERAND;
  for (let i = 0; i < end; i++) {
    const from = i;
    while (i < end && (bytes[i] & 0xfe) !== 0xe8) i++;
    if (i === end) return;
    if (alone !== 0) alone = i - from < 3 ? (alone << (i - from)) & 7 : 0;
    const distance = DISTANCE[alone];
    const overlaps = distance === undefined || (distance > 0 && near(bytes[i + OPERAND - distance]));
    if (overlaps || !near(bytes[i + OPERAND])) {
      alone = ((alone << 1) | 1) & 7;
      continue;
    }
    writeOperand(bytes, i + 1, relative(readOperand(bytes, i + 1), (origin + i + 1 + OPERAND) | 0, distance));
    i += OPERAND;
    alone = 0;
  }
}

function relative(absolute: number, next: number, distance: number): number {
  let target = (absolute - next) | 0;
  if (distance > 0) {
    // The byte that an opcode before may overlap must not become one that the rule above looks at. Once is enough: what
    // is inverted then is the inverse of a byte that was not near.
    const below = 32 - 8 * distance;
    if (near((target >>> (below - 8)) & 0xff)) target = ((target ^ (2 ** below - 1)) - next) | 0;
  }
  // 25 bits, with the sign.
  return (target << 7) >> 7;
}

const readOperand = (bytes: Uint8Array, at: number): number =>
  bytes[at] | (bytes[at + 1] << 8) | (bytes[at + 2] << 16) | (bytes[at + 3] << 24);

function writeOperand(bytes: Uint8Array, at: number, value: number): void {
  for (let i = 0; i < OPERAND; i++) bytes[at + i] = value >>> (8 * i);
}
