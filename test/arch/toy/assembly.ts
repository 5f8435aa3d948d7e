// The made-up architecture's instructions as the assembler's front end reads them: `add a, b, c, imm`, `ld8 a, [b+imm]`,
// `beq a, b, label`.

import { AsmError, type Place } from '../../../src/asm/error.ts';
import { evaluate, isNumber, type Lookup } from '../../../src/asm/expr.ts';
import { fitsInt32, splitOperands } from '../../../src/asm/operands.ts';
import type { AsmPort } from '../../../src/asm/port.ts';
import type { BytesItem, Fixup } from '../../../src/asm/program.ts';
import { encode, type Form, INSN_SIZE, type Insn, type Mnemonic, OPCODES, R } from './isa.ts';

/** Where an instruction has its immediate. */
const IMM = { offset: 4, width: 4 } as const;
const SIZED = /^(ld|st)([1248])$/;

type Fields = Partial<Omit<Insn, 'op'>>;

class Operands {
  readonly #place: Place;
  readonly #lookup: Lookup;
  readonly #texts: readonly string[];
  readonly fixups: Fixup[] = [];

  constructor(place: Place, text: string, lookup: Lookup) {
    this.#place = place;
    this.#texts = splitOperands(text);
    this.#lookup = lookup;
  }

  get count(): number {
    return this.#texts.length;
  }
  register(i: number): number {
    return this.#numberOf(this.#texts[i] ?? '');
  }
  #numberOf(name: string): number {
    const number = (R as Readonly<Record<string, number>>)[name];
    if (number === undefined) throw new AsmError(this.#place, `'${name}' is no register`, name);
    return number;
  }
  /** A number, or a symbol that the image's layout will know. */
  imm(i: number, kind: Fixup['kind'] = 'abs32s'): number {
    return this.#immOf(this.#texts[i] ?? '', kind);
  }
  #immOf(text: string, kind: Fixup['kind']): number {
    const value = evaluate(text, this.#lookup);
    if (!isNumber(value) || kind === 'pc32') {
      this.fixups.push({ kind, ...IMM, value });
      return 0;
    }
    const number = BigInt.asIntN(64, value.num);
    if (!fitsInt32(number)) throw new AsmError(this.#place, `${number} does not fit 32 bits`, text);
    return Number(number);
  }
  /** [b+imm] */
  memory(i: number): Fields {
    const [, base = '', rest = ''] = /^\[(\w+)\s*(.*)\]$/.exec(this.#texts[i] ?? '') ?? [];
    return { b: this.#numberOf(base), imm: rest === '' ? 0 : this.#immOf(rest, 'abs32s') };
  }
}

const FORMS: Readonly<Record<Form, (operands: Operands) => Fields>> = {
  none: () => ({}),
  imm: (o) => ({ imm: o.imm(0) }),
  ri: (o) => ({ a: o.register(0), imm: o.imm(1) }),
  rrri: (o) =>
    o.count === 0
      ? {}
      : {
          a: o.register(0),
          b: o.register(1),
          c: o.register(2),
          imm: o.count > 3 ? o.imm(3) : 0,
        },
  memory: (o) => ({ a: o.register(0), ...o.memory(1), ...(o.count > 2 ? { c: o.register(2) } : {}) }),
  branch: (o) => ({ a: o.register(0), b: o.register(1), imm: o.imm(2, 'pc32') }),
  link: (o) => ({ a: o.register(0), imm: o.imm(1, 'pc32') }),
  register: (o) => ({ a: o.register(0), b: o.register(1) }),
};

function readInstruction(place: Place, text: string, lookup: Lookup): BytesItem {
  const [, word = '', rest = ''] = /^(\S+)\s*(.*)$/.exec(text) ?? [];
  const [, sized, size] = SIZED.exec(word) ?? [];
  const op = (sized ?? word) as Mnemonic;
  if (!Object.hasOwn(OPCODES, op)) throw new AsmError(place, `unknown instruction '${word}'`, word);
  const operands = new Operands(place, rest, lookup);
  const fields = FORMS[OPCODES[op].form](operands);
  const bytes = encode(op, size === undefined ? fields : { ...fields, c: Number(size) });
  return { kind: 'bytes', place, bytes, fixups: operands.fixups };
}

export const TOY_ASSEMBLER: AsmPort = {
  isRegister: (name) => Object.hasOwn(R, name),
  bytes: {},
  fentryCall: 'bl lr, __fentry__',
  isCall: (text) => /^(bl|br)\s+lr\b/.test(text),
  ignored: new Set(),
  codeFill: 0,
  fillNops(gap) {
    const nop = encode('add');
    for (let at = 0; at + INSN_SIZE <= gap.length; at += INSN_SIZE) gap.set(nop, at);
  },
  isHint: () => false,
  readHint(place) {
    throw new AsmError(place, 'there are no hints here');
  },
  readInstruction,
};
