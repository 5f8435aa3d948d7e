// Sequences of two to eight instructions that one state goes through: what an instruction leaves to the next, such as flags
// that nobody asked for yet, and parts of registers.
//
// Invariant: no instruction reads a flag that one before it left undefined, and none moves the stack pointer but by
// pushes and pops; so all that is written lies in the windows of the case.

import * as iced from 'iced-x86';
import { REG } from '../../../../src/arch/x86_64/context.ts';
import { PAGE_SIZE } from '../../../../src/guest/memory.ts';
import {
  decodeAt,
  FLAGS,
  FLOW_MASK,
  FLOW_NEXT,
  Insn,
  STACK,
  STACK_MASK,
  STRING,
} from '../../../../src/isa/decoder.ts';
import { vvvvOf } from '../../../../src/isa/vex.ts';
import { type Case, isBitString, STATUS, WINDOW, type Window } from './cases.ts';
import { Draw } from './draw.ts';
import { encode } from './encode.ts';
import type { Form } from './form.ts';
import { FORMS } from './forms.ts';
import { KERNEL, type Place, SEGMENTS, USER, WRITABLE } from './layout.ts';
import { isBeyondUnicorn, isOfMachine, unjudgedBecause } from './scope.ts';

/** Its result is open, or known to be another one on some judge: cases of their own say which (known.ts). */
const OPEN =
  /^(v?(rcp|rsqrt)[ps]s|sha\w+|movsxd|bswap|xlatb|v?maskmovdqu|enter|leave|pushf\w?|popf\w?|int\d?|shld|shrd)$/;
const OPEN_TO_UNICORN =
  /^(i?div|bs[fr]|cmpxchg\w*|[ls]ahf|neg|test|movbe|crc32|ad[co]x|round\w+|cvt\w+|ph(add|sub)\w+)$/;

const STACK_KINDS = new Set<number>([0, STACK.PUSH, STACK.POP]);

const isSimple = (form: Form): boolean =>
  unjudgedBecause(form) === undefined &&
  !isOfMachine(form) &&
  form.registers !== 'zmm' &&
  (form.facts & FLOW_MASK) === FLOW_NEXT &&
  (form.facts & (STRING | FLAGS)) === 0 &&
  STACK_KINDS.has(form.facts & STACK_MASK) &&
  !OPEN.test(form.mnemonic) &&
  !isBitString(form);

const simple = FORMS.filter(isSimple);
const general = simple.filter(({ registers }) => registers === 'general');
/** By who judges: more of what has flags than there are forms of it. */
const POOLS = {
  host: { general, vector: simple.filter(({ registers }) => registers !== 'general') },
  unicorn: {
    general: general.filter((form) => !isBeyondUnicorn(form) && !OPEN_TO_UNICORN.test(form.mnemonic)),
    vector: [],
  },
};

/** Of a sequence, as the judges ask of a form. */
export const SEQUENCE: Form = {
  key: 'sequence',
  name: 'sequence',
  mnemonic: 'sequence',
  code: iced.Code.INVALID,
  operand: 'memory',
  repeat: undefined,
  prefixes: [],
  wide: false,
  opcode: [],
  ext: undefined,
  rm: undefined,
  inOpcode: false,
  immediate: 0,
  registers: 'general',
  facts: 0,
  vex: undefined,
};

const FLAG_BITS: readonly (readonly [theirs: number, ours: number])[] = [
  [iced.RflagsBits.CF, 0x1],
  [iced.RflagsBits.PF, 0x4],
  [iced.RflagsBits.AF, 0x10],
  [iced.RflagsBits.ZF, 0x40],
  [iced.RflagsBits.SF, 0x80],
  [iced.RflagsBits.OF, 0x800],
];
const ours = (bits: number): number =>
  FLAG_BITS.reduce((sum, [theirs, bit]) => sum | (bits & theirs ? bit : 0), 0);

/** Opcodes of one byte whose register operands are of 8 bits: 4 is ah without a REX prefix. */
const isOfBytes = (opcode: number): boolean =>
  opcode < 0x40
    ? (opcode & 1) === 0
    : [0x80, 0x84, 0x86, 0x88, 0x8a, 0xc0, 0xc6, 0xd0, 0xd2, 0xf6, 0xfe].includes(opcode) ||
      opcode >> 3 === 0x16;

const insn = new Insn();

/** Whether a register operand may be the stack pointer. */
function namesStackPointer(form: Form, bytes: Uint8Array): boolean {
  decodeAt(bytes, 0, 0, insn);
  const { vex, vexBits, hasModrm, mod, reg, rm, opcode, hasRex } = insn;
  if (vex) return vvvvOf(vexBits) === REG.rsp || reg === REG.rsp || rm === REG.rsp;
  if (!hasRex && isOfBytes(opcode)) return false;
  if (form.inOpcode && ((opcode & 7) | ((insn.rex & 1) << 3)) === REG.rsp) return true;
  return hasModrm && ((form.ext === undefined && reg === REG.rsp) || (mod === 3 && rm === REG.rsp));
}

interface Flags {
  readonly read: number;
  readonly written: number;
  readonly undefined: number;
}

function flagsOf(bytes: Uint8Array, { mnemonic }: Form): Flags {
  const decoder = new iced.Decoder(64, bytes, iced.DecoderOptions.None);
  const theirs = decoder.decode();
  const read = ours(theirs.rflagsRead);
  const open = ours(theirs.rflagsUndefined);
  const written = ours(theirs.rflagsWritten | theirs.rflagsCleared | theirs.rflagsSet);
  theirs.free();
  decoder.free();
  // A shift by nothing leaves flags as they are; by more than one it leaves OF undefined, by more than there are bits CF.
  if (/^(sh[lr]|sa[lr]|ro[lr]|rc[lr])$/.test(mnemonic)) return { read, written: 0, undefined: open | 0x811 };
  return { read, written, undefined: open };
}

class SequenceMaker {
  readonly #draw: Draw;
  readonly #place: Place;
  readonly #pools: (typeof POOLS)['host'];

  constructor(seed: number, place: Place) {
    this.#draw = new Draw(seed);
    this.#place = place;
    this.#pools = place.user ? POOLS.host : POOLS.unicorn;
  }

  make(): Case {
    const draw = this.#draw;
    const place = this.#place;
    const at = place.code + BigInt(64 * (1 + draw.below(16)));
    const target = place.near + this.#spot();
    const regs = BigUint64Array.from({ length: 18 }, () => draw.value());
    regs[REG.rip] = at;
    regs[REG.rsp] = place.stack + BigInt(0x400 + (draw.once(4) ? draw.below(0x1000) : 8 * draw.below(0x200)));
    regs[REG.rflags] = BigInt(2 | (draw.below(0x1000) & STATUS));
    const vectors = place.user && draw.once(2);
    const { bytes, names, undefinedAfter } = this.#instructions(at, target, vectors);
    return {
      form: { ...SEQUENCE, name: names.join('; '), registers: vectors ? 'ymm' : 'general' },
      place,
      bytes,
      regs,
      vectors: vectors ? this.#vectors() : new Uint8Array(0),
      windows: [target, regs[REG.rsp]].map((addr) => this.#window(addr)),
      steps: names.length,
      undefinedAfter,
    };
  }

  /** Within the area; on the host now and then across what may be written, which Unicorn does its own way. */
  #spot(): bigint {
    if (this.#place.user && this.#draw.once(12)) return BigInt(WRITABLE - this.#draw.below(96));
    return BigInt(64 + this.#draw.below(PAGE_SIZE + PAGE_SIZE / 2)) & -16n;
  }

  #instructions(
    at: bigint,
    target: bigint,
    vectors: boolean,
  ): { bytes: Uint8Array; names: string[]; undefinedAfter: number[] } {
    const draw = this.#draw;
    const many = 2 + draw.below(7);
    const all: number[] = [];
    const names: string[] = [];
    const undefinedAfter = [0];
    let open = 0;
    for (let tries = 0; names.length < many && tries < 200; tries++) {
      const form = draw.oneOf(vectors && !draw.once(4) ? this.#pools.vector : this.#pools.general);
      const bytes = this.#encode(form, at + BigInt(all.length), target);
      if (!bytes || all.length + bytes.length > MOST_BYTES) continue;
      const flags = flagsOf(bytes, form);
      if (flags.read & open) continue;
      open = (open & ~flags.written) | flags.undefined;
      undefinedAfter.push(open);
      all.push(...bytes);
      names.push(form.name);
    }
    return { bytes: Uint8Array.from(all), names, undefinedAfter };
  }

  #encode(form: Form, at: bigint, target: bigint): Uint8Array | undefined {
    const draw = this.#draw;
    const segment = form.operand === 'memory' && draw.once(8) ? SEGMENTS.fs : undefined;
    const operand =
      target + BigInt(draw.once(3) ? draw.below(96) : 16 * draw.below(6)) - (segment?.base ?? 0n);
    const encoded = encode(form, draw, {
      at,
      segment: segment?.prefix,
      target: operand,
      short: false,
      near: true,
      keepRsp: true,
      byNoRegister: true,
    });
    if (!encoded || encoded.fixed.size > 0 || namesStackPointer(form, encoded.bytes)) return undefined;
    return encoded.bytes;
  }

  #vectors(): Uint8Array {
    const words = BigUint64Array.from({ length: 64 }, () => this.#draw.value());
    return new Uint8Array(words.buffer);
  }

  /** 64 bytes below an address and 192 above, of an area. */
  #window(addr: bigint): Window {
    const { near, stack } = this.#place;
    const area = addr < stack && addr >= near - 0x1000n && addr < near + 0x8000n ? near : stack;
    const last = area + BigInt(WRITABLE - WINDOW);
    const wanted = (addr - 64n) & -8n;
    const first = wanted < area ? area : wanted > last ? last : wanted;
    const words = BigUint64Array.from({ length: WINDOW / 8 }, () => this.#draw.value());
    return { addr: first, bytes: new Uint8Array(words.buffer) };
  }
}

/** What a case has room for. */
export const MOST_BYTES = 120;

/** Sequences from one number to another: the odd ones are of ring 3. */
export function* sequences(from: number, to: number): Generator<Case> {
  for (let number = from; number < to; number++) {
    yield new SequenceMaker(Math.imul(number + 1, 0x9e3779b1) >>> 0, number & 1 ? USER : KERNEL).make();
  }
}
