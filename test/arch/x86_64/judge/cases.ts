// One state to judge: an instruction of a form, registers, memory around what it touches.
//
// Invariant: a case is made of the form, its place and a number alone: the same again in every run.

import * as iced from 'iced-x86';
import { REG } from '../../../../src/arch/x86_64/context.ts';
import { PAGE_SIZE } from '../../../../src/guest/memory.ts';
import {
  DIVIDES,
  FLAGS,
  FLOW_CALL_INDIRECT,
  FLOW_FAR,
  FLOW_JMP_INDIRECT,
  FLOW_MASK,
  FLOW_NEXT,
  FLOW_RET,
  STACK,
  STACK_MASK,
  STRING,
} from '../../../../src/isa/decoder.ts';
import { Draw, seedOf } from './draw.ts';
import { encode } from './encode.ts';
import { type Form, IMAGE } from './form.ts';
import { areasOf, type Place, READABLE, SEGMENTS, WRITABLE } from './layout.ts';
import { bytesOf, shapeOf } from './vectors.ts';

/** CF PF AF ZF SF OF. */
export const STATUS = 0x8d5;
const DF = 0x400;

/** Behind an instruction that sets a control word: it is stored below the stack pointer. */
const WITNESS: Readonly<Record<string, readonly number[]>> = Object.fromEntries([
  ...['ldmxcsr', 'vldmxcsr', 'fxrstor'].map((name) => [name, [0x0f, 0xae, 0x5c, 0x24, 0xf8]]), // stmxcsr
  ...['fldcw', 'fninit', 'fxrstor64'].map((name) => [name, [0xd9, 0x7c, 0x24, 0xf8]]), // fnstcw
  ['fnclex', [0xdd, 0x7c, 0x24, 0xf8]], // fnstsw
  ['swapgs', [0x65, 0x48, 0x89, 0x24, 0x24]], // mov gs:[rsp], rsp
]);

export interface Window {
  readonly addr: bigint;
  readonly bytes: Uint8Array;
}

export interface Case {
  readonly form: Form;
  readonly place: Place;
  readonly bytes: Uint8Array;
  /** In the order of a context: the general ones, RIP, RFLAGS. */
  readonly regs: BigUint64Array;
  /** As the form's registers are (vectors.ts). */
  readonly vectors: Uint8Array;
  /** What memory holds beside its first bytes. */
  readonly windows: readonly Window[];
  /** Of more than one instruction: how many. */
  readonly steps?: number;
  /** And the flags that are undefined behind so many of them. */
  readonly undefinedAfter?: readonly number[];
}

export const WINDOW = 256;
/** Places in an area: within it, across its pages, at its borders and behind them. */
function spot(draw: Draw): bigint {
  const way = draw.below(32);
  if (way < 10) return BigInt(draw.below(WRITABLE - 64)) & -16n;
  if (way < 22) return BigInt(draw.below(WRITABLE - 64));
  if (way < 25) return BigInt(PAGE_SIZE - 1 - draw.below(31));
  if (way < 27) return BigInt(WRITABLE + draw.below(PAGE_SIZE - 64));
  if (way === 27) return BigInt(WRITABLE - 1 - draw.below(15));
  if (way === 28) return BigInt(READABLE - 1 - draw.below(15));
  if (way === 29) return BigInt(-1 - draw.below(15));
  return way === 30
    ? BigInt(READABLE + draw.below(PAGE_SIZE))
    : BigInt(-PAGE_SIZE + draw.below(PAGE_SIZE - 64));
}

/** The stack pointer: mostly with room on both sides. */
function stackSpot(draw: Draw): bigint {
  const way = draw.below(16);
  if (way < 10) return BigInt(0x400 + 8 * draw.below(0x300));
  if (way < 13) return BigInt(0x400 + draw.below(0x1800));
  return way < 15 ? BigInt(draw.below(24)) : BigInt(WRITABLE - draw.below(24));
}

class CaseMaker {
  readonly #form: Form;
  readonly #place: Place;
  readonly #draw: Draw;
  readonly #regs = new BigUint64Array(18);
  readonly #windows: Window[] = [];

  constructor(form: Form, place: Place, seed: number) {
    this.#form = form;
    this.#place = place;
    this.#draw = new Draw(seed);
  }

  make(): Case | undefined {
    const draw = this.#draw;
    const { facts } = this.#form;
    const place = this.#place;
    const at = place.code + BigInt(64 * (1 + draw.below(16)));
    const short = place.user && draw.once(10) && this.#takesShort();
    const segment =
      draw.once(8) && this.#takesSegment() ? (short || draw.once(2) ? SEGMENTS.fs : SEGMENTS.gs) : undefined;
    const base = segment?.base ?? 0n;
    const near = short || draw.once(3);
    const isImage = IMAGE.test(this.#form.mnemonic);
    const at16 = (near ? place.near : draw.oneOf([place.far, place.near])) + spot(draw);
    const target = isImage && !draw.once(4) ? at16 & -64n : at16; // they are to be aligned mostly
    const keepRsp = (facts & STACK_MASK) !== 0;
    const inReach =
      target - place.near < 0x8000n && target - place.near > -0x8000n && segment !== SEGMENTS.gs;
    const inSegment = BigInt.asUintN(64, target - base);
    const wanted = { at, segment: segment?.prefix, target: inSegment, short, near: inReach, keepRsp };
    const encoded = encode(this.#form, draw, wanted);
    if (!encoded || !isOf(this.#form, encoded.bytes)) return undefined;
    this.#fillRegisters();
    this.#special(short, base);
    for (const [register, value] of encoded.fixed) this.#regs[register] = value;
    this.#regs[REG.rip] = at;
    const addressed = [...encoded.fixed.keys()];
    if (isBitString(this.#form) && !addressed.includes(encoded.reg))
      this.#regs[encoded.reg] = this.#bitOffset();
    if (isBitString(this.#form)) this.#window(target + this.#bytesAway(encoded.reg));
    this.#window(target);
    if (this.#form.mnemonic === 'leave') this.#window(this.#regs[REG.rbp]);
    if (this.#form.mnemonic === 'enter') this.#frames();
    if (this.#regs[REG.rsp] !== target) this.#window(this.#regs[REG.rsp]);
    if (isImage) this.#image(target);
    if ((facts & FLOW_MASK) === FLOW_FAR)
      this.#farPointer(this.#form.operand === 'memory' ? target : undefined);
    const witness = WITNESS[this.#form.mnemonic] ?? [];
    return {
      form: this.#form,
      place,
      bytes: Uint8Array.of(...encoded.bytes, ...witness),
      ...(witness.length > 0 && { steps: 2 }),
      regs: this.#regs,
      vectors: this.#vectors(bytesOf(shapeOf(this.#form))),
      windows: this.#windows,
    };
  }

  /** What an address of 32 bits can be had of. */
  #takesShort(): boolean {
    return this.#form.operand === 'memory' || (this.#form.facts & STRING) !== 0;
  }

  /** It accesses memory that a prefix puts in another segment. */
  #takesSegment(): boolean {
    const { operand, facts, mnemonic, opcode, vex } = this.#form;
    const isOffset = !vex && opcode.length === 1 && (opcode[0] & 0xfc) === 0xa0;
    return operand === 'memory' || (facts & STRING) !== 0 || isOffset || /^xlatb$|maskmovdqu$/.test(mnemonic);
  }

  #fillRegisters(): void {
    const draw = this.#draw;
    for (let i = 0; i < 16; i++) this.#regs[i] = draw.value();
    this.#regs[REG.rsp] = this.#place.stack + stackSpot(draw);
    let flags = 2 | (draw.below(0x1000) & STATUS);
    if (draw.once(this.#form.facts & STRING ? 3 : 16)) flags |= DF;
    this.#regs[REG.rflags] = BigInt(flags);
  }

  /** @param base of the segment that its memory is in */
  #special(short: boolean, base: bigint): void {
    const draw = this.#draw;
    const regs = this.#regs;
    const { facts, mnemonic } = this.#form;
    if (facts & STRING) {
      const area = short ? this.#place.near : this.#place.far;
      const from = area + spot(draw);
      regs[REG.rsi] = from - base;
      regs[REG.rdi] = area + spot(draw);
      if (this.#form.repeat) regs[REG.rcx] = BigInt(draw.below(4));
      this.#window(from);
      this.#window(regs[REG.rdi]);
    }
    if (facts & DIVIDES && !draw.once(3)) {
      regs[REG.rdx] = draw.once(2)
        ? BigInt.asUintN(64, BigInt.asIntN(64, regs[REG.rax]) >> 63n)
        : BigInt(draw.below(64));
      if (draw.once(2)) regs[REG.rax] = BigInt(draw.below(0x1000));
    }
    if (mnemonic === 'leave' || mnemonic === 'enter') regs[REG.rbp] = this.#place.stack + stackSpot(draw);
    if (mnemonic === 'xlatb') regs[REG.rbx] = this.#place.far + spot(draw) - base;
    if (/^v?maskmovdqu$/.test(mnemonic)) {
      const to = this.#place.far + spot(draw);
      regs[REG.rdi] = to - base;
      this.#window(to);
    }
    const flow = facts & FLOW_MASK;
    if (flow === FLOW_JMP_INDIRECT || flow === FLOW_CALL_INDIRECT) {
      for (let i = 0; i < 16; i++)
        if (!FIXED_BY_STACK.has(i) && regs[i] >> 48n !== 0xffffn) regs[i] &= 0x7fffffffffffn;
    }
  }

  /** What enter may write: 32 frame pointers; and those that it reads. */
  #frames(): void {
    const highest = this.#place.stack + BigInt(WRITABLE - 2 * WINDOW + 64);
    const below = this.#regs[REG.rsp] - 192n;
    const first = below < highest ? below : highest;
    this.#window(first);
    this.#window(first + BigInt(WINDOW));
    this.#window(this.#regs[REG.rbp]);
  }

  /** An offset and a selector, mostly of code that there is: at an address, or on the stack. */
  #farPointer(target: bigint | undefined): void {
    const draw = this.#draw;
    if (draw.once(4)) return;
    const { wide, prefixes } = this.#form;
    const size = wide ? 8 : prefixes.includes(0x66) ? 2 : 4;
    const at = target ?? this.#regs[REG.rsp];
    const pointer = Buffer.alloc(10);
    pointer.writeBigUInt64LE(this.#place.code + BigInt(draw.below(0x400)), 0);
    pointer.writeUInt16LE(draw.oneOf([0x33, 0x33, 0x33, 0x30, 0x32, 0x2b, 0x10, 0]), size);
    for (const { addr, bytes } of this.#windows) {
      const from = Number(at - addr);
      if (from >= 0 && from + size + 2 <= WINDOW) bytes.set(pointer.subarray(0, size + 2), from);
    }
  }

  /** The rest of an image of registers. It is rarely one that can be loaded, but for what this makes of it. */
  #image(target: bigint): void {
    this.#window(target + BigInt(WINDOW - 64));
    this.#window(target + BigInt(2 * WINDOW - 64));
    for (const { addr, bytes } of this.#windows) {
      const at = Number(target - addr) + 24; // MXCSR, and what of its bits there are
      if (at >= 0 && at + 4 <= WINDOW && !this.#draw.once(4)) {
        bytes.fill(0, at + 2, at + 4);
      }
    }
  }

  /** How far the operand is from its address, by the bit that the register names. */
  #bytesAway(register: number): bigint {
    const bits = Number(/\br(16|32|64)$/.exec(this.#form.name)?.[1]);
    return BigInt.asIntN(bits, this.#regs[register]) >> 3n;
  }

  /** In bits: within a page. */
  #bitOffset(): bigint {
    const draw = this.#draw;
    return draw.once(16) ? draw.value() : BigInt.asUintN(64, BigInt(draw.below(4096) - 2048));
  }

  /** Memory that may be written around an address is given other bytes. */
  #window(addr: bigint): void {
    const area = areasOf(this.#place).find(
      (base) => addr >= base - 64n && addr < base + BigInt(WRITABLE + 64),
    );
    if (area === undefined) return;
    const last = area + BigInt(WRITABLE - WINDOW);
    const around = clamp((addr - 64n) & -8n, area, last);
    const other = this.#overlapped(around);
    // Beside another one: all that is around the address is in one or the other.
    const first = other === undefined ? around : other + BigInt(around < other ? -WINDOW : WINDOW);
    if (first < area || first > last || this.#overlapped(first) !== undefined) return;
    this.#windows.push({ addr: first, bytes: this.#contents(addr, first) });
  }

  #overlapped(first: bigint): bigint | undefined {
    const size = BigInt(WINDOW);
    return this.#windows.find(({ addr }) => first < addr + size && addr < first + size)?.addr;
  }

  #contents(addr: bigint, first: bigint): Uint8Array {
    const values = this.#draw.bytes(WINDOW);
    const words = new BigUint64Array(values.buffer);
    // Those that an operand may be are worth more thought.
    const at = Number((addr - first) >> 3n);
    const code = isTransfer(this.#form);
    const flags = this.#form.facts & FLAGS;
    for (let i = Math.max(at - 2, 0); i < Math.min(at + 10, words.length); i++) {
      words[i] = this.#draw.value();
      if (code && !this.#draw.once(16)) words[i] = this.#place.code + BigInt(this.#draw.below(0x800));
      if (flags) words[i] = (words[i] & BigInt(STATUS | DF)) | 2n;
    }
    // As if each word were at the address itself.
    const turn = Number((addr - first) & 7n);
    if (turn === 0) return values;
    const turned = new Uint8Array(WINDOW);
    for (let i = 0; i < WINDOW; i++) turned[(i + turn) % WINDOW] = values[i];
    return turned;
  }

  #vectors(bytes: number): Uint8Array {
    return this.#draw.values(bytes / 8);
  }
}

const clamp = (value: bigint, from: bigint, to: bigint): bigint =>
  value < from ? from : value > to ? to : value;

const FIXED_BY_STACK = new Set<number>([REG.rsp]);

/** Its operand is a bit of a string of them: its address depends on a register operand. */
export const isBitString = ({ operand, immediate, mnemonic }: Form): boolean =>
  operand === 'memory' && immediate === 0 && ['bt', 'bts', 'btr', 'btc'].includes(mnemonic);

function isTransfer({ facts }: Form): boolean {
  const flow = facts & FLOW_MASK;
  if (flow === FLOW_NEXT) return false;
  return (
    flow === FLOW_RET ||
    flow === FLOW_CALL_INDIRECT ||
    flow === FLOW_JMP_INDIRECT ||
    (facts & STACK_MASK) === STACK.RET
  );
}

/** Whether the other decoder takes it for an instruction of the form, too. */
function isOf(form: Form, bytes: Uint8Array): boolean {
  const decoder = new iced.Decoder(64, bytes, iced.DecoderOptions.None);
  const theirs = decoder.decode();
  const same = theirs.code === form.code && theirs.length === bytes.length;
  theirs.free();
  decoder.free();
  return same;
}

/** The case of a number; undefined where its instruction turned out another. */
export const makeCase = (form: Form, place: Place, number: number): Case | undefined =>
  new CaseMaker(form, place, (seedOf(form.key) + Math.imul(number + 1, 0x9e3779b1)) >>> 0).make();
