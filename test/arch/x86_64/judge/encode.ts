// Encodes one instruction of a form: registers, addressing and constants drawn.
//
// The address that a memory operand is to have is given; what its registers must hold for that is part of the result.

import * as iced from 'iced-x86';
import { decodeAt, FLOW_MASK, FLOW_NEXT, Insn } from '../../../../src/isa/decoder.ts';
import { FORM } from '../../../../src/isa/facts.ts';
import { FORM_ONE } from '../../../../src/isa/opcodes.ts';
import type { Draw } from './draw.ts';
import type { Form, Vex } from './form.ts';

const RSP = 4;

export interface Encoded {
  readonly bytes: Uint8Array;
  /** Registers that the address of the operand is made of, and what they must hold. */
  readonly fixed: ReadonlyMap<number, bigint>;
  /** The register operand, for instructions whose address depends on it. */
  readonly reg: number;
}

export interface Wanted {
  /** Where the instruction is. */
  readonly at: bigint;
  /** Of the prefix of a segment whose base counts; undefined for none. */
  readonly segment: number | undefined;
  /** What its memory operand is at, in its segment; below 4 GiB with `short`. */
  readonly target: bigint;
  /** An address of 32 bits. */
  readonly short: boolean;
  /** The target can be named by a displacement of 32 bits alone, or from the instruction. */
  readonly near: boolean;
  /** The stack pointer is not to be part of the address. */
  readonly keepRsp: boolean;
  /** Its address is to depend on no register. */
  readonly byNoRegister?: boolean;
}

/** ModRM and what follows it. */
interface Operand {
  readonly rex: number;
  readonly bytes: readonly number[];
  readonly fixed: Map<number, bigint>;
  /** A displacement from the end of the instruction: where it is in `bytes`. */
  readonly relativeAt?: number;
  /** A displacement of one byte, and the register that is to hold what is left of the address. */
  readonly byte?: { readonly value: bigint; readonly base: number } | undefined;
}

const little = (value: bigint, size: number): number[] =>
  Array.from({ length: size }, (_, i) => Number((value >> BigInt(8 * i)) & 0xffn));

const fits = (value: bigint, bits: number): boolean => BigInt.asIntN(bits, value) === value;

class Encoder {
  readonly #form: Form;
  readonly #draw: Draw;
  readonly #wanted: Wanted;

  constructor(form: Form, draw: Draw, wanted: Wanted) {
    this.#form = form;
    this.#draw = draw;
    this.#wanted = wanted;
  }

  encode(): Encoded {
    const form = this.#form;
    const draw = this.#draw;
    const evex = form.vex?.length !== undefined;
    const reg = form.ext ?? draw.below(evex && !form.name.includes(' k1') ? 32 : evex ? 8 : 16);
    let operand: Operand = { rex: 0, bytes: [], fixed: new Map() };
    if (form.operand === 'register') operand = this.#register(reg);
    if (form.operand === 'memory') operand = this.#memory(reg & 7);
    const high = operand.rex >> 2;
    const inOpcode = form.inOpcode ? draw.below(16) : 0;
    let rex = (operand.rex & 3) | (form.wide ? 8 : 0);
    if (form.operand !== 'none' && reg & 8) rex |= 4;
    if (inOpcode > 7) rex |= 1;
    const opcode = [...form.opcode];
    if (form.inOpcode) opcode[opcode.length - 1] = (opcode[opcode.length - 1] & 0xf8) | (inOpcode & 7);
    const prefixes = [...this.#segment(), ...(this.#wanted.short ? [0x67] : []), ...form.prefixes];
    const early = evex
      ? this.#evex(form.vex as Vex, rex, reg, high)
      : form.vex
        ? this.#vex(form.vex, rex)
        : rex || draw.once(5)
          ? [0x40 | rex]
          : [];
    const head = [...prefixes, ...early, ...opcode];
    const constant = this.#constant();
    const bytes = [...head, ...operand.bytes, ...constant];
    if (operand.relativeAt !== undefined) {
      const disp = this.#wanted.target - (this.#wanted.at + BigInt(bytes.length));
      bytes.splice(head.length + operand.relativeAt, 4, ...little(disp, 4));
    }
    if (evex && operand.byte) scaled(operand.fixed, operand.byte, bytes);
    return { bytes: Uint8Array.from(bytes), fixed: operand.fixed, reg };
  }

  /** Bits that are inverted: of REX, the upper sixteen registers, the source. A mask, and with it zeros; a broadcast. */
  #evex({ map, prefix, source, length = 0 }: Vex, rex: number, reg: number, high: number): number[] {
    const draw = this.#draw;
    const register = source ? draw.below(32) : 0;
    const mask = draw.once(2) ? draw.below(8) : 0;
    const broadcasts = this.#form.operand === 'memory' && draw.once(4);
    const zeroes = mask !== 0 && draw.once(2);
    // In a register operand X is one more bit of its number.
    const first = (~rex & 5) | (this.#form.operand === 'register' ? (high ? 0 : 2) : ~rex & 2);
    return [
      0x62,
      (first << 5) | (reg & 16 ? 0 : 0x10) | map,
      ((rex & 8) << 4) | ((~register & 15) << 3) | 4 | prefix,
      (zeroes ? 0x80 : 0) | (length << 5) | (broadcasts ? 0x10 : 0) | (register & 16 ? 0 : 8) | mask,
    ];
  }

  /** Of three bytes, or two where they say all. The bits of REX are inverted in it, and so is the register. */
  #vex({ map, prefix, long, source }: Vex, rex: number): number[] {
    const register = source ? this.#draw.below(16) : 0;
    const rest = ((~register & 0xf) << 3) | (long ? 4 : 0) | prefix;
    if (map === 1 && (rex & 0xb) === 0 && this.#draw.once(2)) return [0xc5, ((~rex & 4) << 5) | rest];
    return [0xc4, ((~rex & 7) << 5) | map, ((rex & 8) << 4) | rest];
  }

  /** The one that is wanted, or one that changes nothing: its base is 0, or does not count. */
  #segment(): number[] {
    const { segment } = this.#wanted;
    if (segment !== undefined) return [segment];
    const flow = this.#form.facts & FLOW_MASK;
    if (flow !== FLOW_NEXT || !this.#draw.once(12)) return [];
    return [this.#draw.oneOf([0x26, 0x2e, 0x36, 0x3e])];
  }

  /** Its rm is a vector register of EVEX, and no general one. */
  get #hasUpperRm(): boolean {
    const { vex, name } = this.#form;
    return vex?.length !== undefined && !/, r\d+/.test(name);
  }

  #register(reg: number): Operand {
    const rm = this.#form.rm ?? this.#draw.below(this.#hasUpperRm ? 32 : 16);
    return {
      rex: ((rm >> 3) & 1) | ((rm >> 4) << 2),
      bytes: [0xc0 | ((reg & 7) << 3) | (rm & 7)],
      fixed: new Map(),
    };
  }

  #memory(reg: number): Operand {
    const { near, short } = this.#wanted;
    const ways = this.#wanted.byNoRegister ? [3, 4] : [0, 0, 0, 1, 1, 1, 2, ...(near ? [3, 4] : [])];
    switch (this.#draw.oneOf(ways)) {
      case 0:
        return this.#base(reg);
      case 1:
        return this.#baseAndIndex(reg);
      case 2:
        return this.#index(reg);
      case 3:
        return { rex: 0, bytes: [(reg << 3) | 5, 0, 0, 0, 0], fixed: new Map(), relativeAt: 1 };
      default:
        return short || fits(BigInt.asIntN(64, this.#wanted.target), 32)
          ? this.#absolute(reg)
          : this.#base(reg);
    }
  }

  #absolute(reg: number): Operand {
    return { rex: 0, bytes: [(reg << 3) | 4, 0x25, ...little(this.#wanted.target, 4)], fixed: new Map() };
  }

  #general(except: number): number {
    for (;;) {
      const register = this.#draw.below(16);
      if (register !== except && !(register === RSP && this.#wanted.keepRsp)) return register;
    }
  }

  /** What a register must hold beside the rest of the address; above 32 bits anything, where that does not count. */
  #rest(rest: bigint): bigint {
    const { short } = this.#wanted;
    return short ? BigInt.asUintN(32, rest) | (this.#draw.u64() & ~0xffffffffn) : BigInt.asUintN(64, rest);
  }

  /** No displacement, one of a byte, one of four: mod, its bytes, its value. */
  #displacement(base: number): [number, number[], bigint] {
    const way = this.#draw.below((base & 7) === 5 ? 2 : 3);
    if (way === 2) return [0, [], 0n];
    const disp =
      way === 0 ? BigInt(this.#draw.below(256) - 128) : BigInt(this.#draw.below(2 ** 32) - 2 ** 31);
    return way === 0 ? [1, little(disp, 1), disp] : [2, little(disp, 4), disp];
  }

  #base(reg: number): Operand {
    const base = this.#general(-1);
    const [mod, disp, value] = this.#displacement(base);
    const sib = (base & 7) === 4 ? [0x24 | (this.#draw.below(4) << 6)] : [];
    return {
      rex: base >> 3,
      bytes: [(mod << 6) | (reg << 3) | (base & 7), ...sib, ...disp],
      fixed: new Map([[base, this.#rest(this.#wanted.target - value)]]),
      byte: mod === 1 ? { value, base } : undefined,
    };
  }

  #indexRegister(except: number): number {
    let index = this.#general(except);
    while (index === RSP) index = this.#general(except);
    return index;
  }

  #baseAndIndex(reg: number): Operand {
    const base = this.#general(-1);
    const index = this.#indexRegister(base);
    const [mod, disp, value] = this.#displacement(base);
    const scale = this.#draw.below(4);
    const offset = this.#draw.value();
    const rest = this.#wanted.target - value - (offset << BigInt(scale));
    return {
      rex: (base >> 3) | ((index >> 3) << 1),
      bytes: [(mod << 6) | (reg << 3) | 4, (scale << 6) | ((index & 7) << 3) | (base & 7), ...disp],
      fixed: new Map([
        [index, offset],
        [base, this.#rest(rest)],
      ]),
      byte: mod === 1 ? { value, base } : undefined,
    };
  }

  /** index * scale + displacement: the displacement takes what the scale leaves over. */
  #index(reg: number): Operand {
    const index = this.#indexRegister(-1);
    const scale = this.#draw.below(4);
    const over = this.#wanted.target & ((1n << BigInt(scale)) - 1n);
    const disp = over + BigInt(this.#draw.below(2 ** 28)) * 8n - 2n ** 30n;
    const rest = BigInt.asIntN(this.#wanted.short ? 32 : 64, this.#wanted.target - disp) >> BigInt(scale);
    return {
      rex: (index >> 3) << 1,
      bytes: [(reg << 3) | 4, (scale << 6) | ((index & 7) << 3) | 5, ...little(disp, 4)],
      fixed: new Map([[index, this.#rest(rest)]]),
    };
  }

  #constant(): number[] {
    const { immediate, facts, vex } = this.#form;
    const opcode = vex ? [] : this.#form.opcode;
    if (opcode.length === 1 && FORM_ONE[opcode[0]] & FORM.MOFFS) {
      return little(this.#wanted.target, this.#wanted.short ? 4 : 8);
    }
    const more =
      opcode.length === 1 && FORM_ONE[opcode[0]] & FORM.IMM8_MORE
        ? [this.#draw.below(8) * this.#draw.below(8)]
        : [];
    const near =
      (facts & FLOW_MASK) !== FLOW_NEXT && immediate === 2 ? BigInt(8 * this.#draw.below(40)) : undefined;
    return [...little(near ?? this.#draw.value(), immediate), ...more];
  }
}

/** EVEX counts a displacement of one byte in operands: the other decoder says of how many bytes. */
function scaled(
  fixed: Map<number, bigint>,
  { value, base }: { value: bigint; base: number },
  bytes: number[],
): void {
  const decoder = new iced.Decoder(64, Uint8Array.from(bytes), iced.DecoderOptions.None);
  const theirs = decoder.decode();
  const displacement = theirs.memoryDisplacement;
  theirs.free();
  decoder.free();
  const held = fixed.get(base) as bigint;
  fixed.set(base, BigInt.asUintN(64, held - (BigInt.asIntN(64, displacement) - value)));
}

const decoded = new Insn();

/** An instruction of the form; undefined where the registers drawn make another one of it. */
export function encode(form: Form, draw: Draw, wanted: Wanted): Encoded | undefined {
  for (let tries = 0; tries < 8; tries++) {
    const encoded = new Encoder(form, draw, wanted).encode();
    const { bytes } = encoded;
    if (bytes.length <= 15 && decodeAt(bytes, 0, 0, decoded).length === bytes.length) return encoded;
  }
  return undefined;
}
