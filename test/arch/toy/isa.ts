// A made-up architecture, as small as one can be that a kernel can be patched on: what its instructions are, as bytes.
//
// Eight bytes each: opcode, a, b, c, and a signed 32-bit immediate. Registers go by number, of which `zero` reads
// as 0. A call leaves its return address in a register that the instruction names, `lr` by convention. A function that
// can be traced begins with a copy of lr to `t`, and then its site: eight bytes behind the function's address.

/** Registers by their number in an instruction. */
export const REGISTERS = [
  'r0',
  'r1',
  'r2',
  'r3',
  'r4',
  'r5',
  'r6',
  'r7',
  'r8',
  'r9',
  't',
  'sp',
  'lr',
  'cpu',
  'zero',
  'pc',
  'status',
] as const;
export type ToyRegister = (typeof REGISTERS)[number];

export const R = Object.fromEntries(REGISTERS.map((name, i) => [name, i])) as Readonly<
  Record<ToyRegister, number>
>;

/** Bits of status. */
export const STATUS_IRQ = 1;
export const STATUS_USER = 2;

export const INSN_SIZE = 8;

/** What an opcode's operands are, as the assembler reads them. */
export type Form = 'none' | 'imm' | 'ri' | 'rrri' | 'memory' | 'branch' | 'link' | 'register';

/** The dozen and a few: opcode by mnemonic, and the operands. */
export const OPCODES = {
  /** A breakpoint, and what is in memory that nobody wrote. */
  brk: { opcode: 0x00, form: 'none' },
  /** a = imm */
  li: { opcode: 0x01, form: 'ri' },
  /** high half of a = imm */
  hi: { opcode: 0x02, form: 'ri' },
  /** a = b + c + imm */
  add: { opcode: 0x03, form: 'rrri' },
  /** a = b - c - imm */
  sub: { opcode: 0x04, form: 'rrri' },
  /** a = b & (c | imm), imm without its sign */
  and: { opcode: 0x05, form: 'rrri' },
  /** c bytes at b + imm, without a sign */
  ld: { opcode: 0x06, form: 'memory' },
  st: { opcode: 0x07, form: 'memory' },
  /** a = the 8 bytes at b + imm, of which the bits in register c are cleared, at once */
  clr: { opcode: 0x08, form: 'memory' },
  beq: { opcode: 0x09, form: 'branch' },
  bne: { opcode: 0x0a, form: 'branch' },
  /** a = the next instruction's address; to pc + 8 + imm */
  bl: { opcode: 0x0b, form: 'link' },
  /** a = the next instruction's address; to b */
  br: { opcode: 0x0c, form: 'register' },
  /** Waits for an interrupt; in the kernel's host functions, asks for theirs. */
  wait: { opcode: 0x0d, form: 'none' },
  /** A system call. */
  sys: { opcode: 0x0e, form: 'none' },
  /** Interrupts on (1) or off (0). */
  irq: { opcode: 0x0f, form: 'imm' },
  /** pc, status and sp from the three words at sp. */
  iret: { opcode: 0x10, form: 'none' },
} as const satisfies Readonly<Record<string, { opcode: number; form: Form }>>;
export type Mnemonic = keyof typeof OPCODES;

export interface Insn {
  readonly op: Mnemonic;
  readonly a: number;
  readonly b: number;
  readonly c: number;
  readonly imm: number;
}

const BY_OPCODE: ReadonlyMap<number, Mnemonic> = new Map(
  Object.entries(OPCODES).map(([name, { opcode }]) => [opcode, name as Mnemonic] as const),
);

export function encode(op: Mnemonic, fields: Partial<Omit<Insn, 'op'>> = {}): Uint8Array {
  const { a = R.zero, b = R.zero, c = R.zero, imm = 0 } = fields;
  if (imm !== (imm | 0)) throw new RangeError(`${op}: ${imm} does not fit 32 bits`);
  const bytes = new Uint8Array(INSN_SIZE);
  bytes.set([OPCODES[op].opcode, a, b, c]);
  new DataView(bytes.buffer).setInt32(4, imm, true);
  return bytes;
}

/** undefined for what is no instruction. */
export function decode(bytes: Uint8Array): Insn | undefined {
  const op = BY_OPCODE.get(bytes[0]);
  if (op === undefined || bytes.length < INSN_SIZE) return undefined;
  const imm = new DataView(bytes.buffer, bytes.byteOffset).getInt32(4, true);
  return { op, a: bytes[1], b: bytes[2], c: bytes[3], imm };
}
