// Decodes a block: the straight run of instructions from an address, into operations of the core.
//
// Invariant: a block lies in one page, or is a single instruction across the end of one.

import { decodeAt, FLOW_NEXT, Insn, isPrefix, isRex, LOCKABLE, STRING } from '../../../../isa/decoder.ts';
import { GOTO, STOP_HERE, STOP_PROTECTION, STOP_REFUSED, STOP_UNDEFINED } from '../../core/kinds.ts';
import { BLOCK_COUNT, BLOCK_RIP, BLOCK_SIZE } from '../../core/layout.ts';
import type { Instruction, IsTrampoline } from './instruction.ts';
import type { Observed } from './observed.ts';
import { ONE_BYTE } from './one_byte.ts';
import { Place } from './place.ts';
import { TWO_BYTES } from './two_bytes.ts';
import { translateVector } from './vector_translate.ts';
import { OperationWriter } from './writer.ts';

/** Instructions in a block, at most. */
export const MOST_INSTRUCTIONS = 64;
/** Operations that one instruction may need, and what ends a block. */
export const MOST_OPERATIONS = 12 * (MOST_INSTRUCTIONS + 1);

type Writable<T> = { -readonly [K in keyof T]: T[K] };

export class Translator {
  readonly #writer: OperationWriter;
  readonly #view: DataView;
  readonly #insn = new Insn();
  /** The one that is being written: one object for all of them. */
  readonly #i: Writable<Instruction>;
  /** Set where the kernel's calls and returns are to be noted. */
  isTrampoline: IsTrampoline | undefined;
  /** Set where something is observed. */
  observed: Observed | undefined;

  /** @param hasXsave CR4.OSXSAVE */
  constructor(buffer: ArrayBuffer, hasXsave = true) {
    this.#writer = new OperationWriter(buffer);
    this.#view = new DataView(buffer);
    this.#i = {
      w: this.#writer,
      insn: this.#insn,
      bytes: new Uint8Array(0),
      at: 0,
      next: new Place(),
      user: false,
      hasXsave,
      isTrampoline: undefined,
    };
  }

  /**
   * Writes a block.
   * @param bytes from its first instruction to the end of its page
   * @param beyond the bytes of the next page, for an instruction that goes on there; empty when there are none
   * @param refused addresses of instructions that the run ends before
   * @returns where the arena goes on, and whether the block's only instruction needs the next page:
   *   `missing` when that page is not there
   */
  translate(
    block: number,
    rip: bigint,
    bytes: Uint8Array,
    beyond: () => Uint8Array | undefined,
    user: boolean,
    refused: ReadonlySet<bigint>,
  ): { end: number; crosses: boolean } | 'missing' {
    const w = this.#writer;
    const insn = this.#insn;
    const i = this.#i;
    i.insn = insn;
    i.user = user;
    i.isTrampoline = user ? undefined : this.isTrampoline;
    i.next.base = rip;
    const stops = refused.size > 0;
    w.beginBlock(block);
    w.index = 0;
    let at = 0;
    let crosses = false;
    let ended = false;
    while (!ended && w.index < MOST_INSTRUCTIONS && at < bytes.length) {
      let from = bytes;
      let offset = at;
      decodeAt(from, offset, 0, insn);
      if (insn.length === 0 && bytes.length - at < 15) {
        // It may go on in the next page: by itself then.
        if (w.index > 0) break;
        const rest = beyond();
        if (rest) {
          from = new Uint8Array(30);
          from.set(bytes.subarray(at));
          from.set(rest.subarray(0, 15), bytes.length - at);
          offset = 0;
          decodeAt(from, 0, 0, insn);
        } else if (!isWhole(bytes, at)) return 'missing';
        crosses = rest !== undefined;
      }
      // It may end at each repetition, and begins again where its block does.
      if (repeats(insn) && w.index > 0) break;
      w.start = at;
      w.end = at + insn.length;
      i.bytes = from;
      i.at = offset;
      i.next.offset = w.end;
      if (stops && refused.has(rip + BigInt(at))) {
        w.op(STOP_HERE, { imm: STOP_REFUSED });
        ended = true;
      } else {
        this.observed?.before(i);
        ended = !this.#instruction(i) || crosses;
        this.observed?.after(i);
      }
      w.index++;
      at += insn.length;
    }
    // What goes on behind the last instruction has a number of its own.
    w.start = at;
    w.end = at;
    i.next.offset = at;
    w.toAddress(GOTO, i.next, 0);
    this.#header(block, rip, w.index);
    return { end: w.at, crosses };
  }

  /**
   * Writes a block of one instruction, decoded already.
   * @param base address of the first of the bytes, the instruction being at an index of them
   */
  translateOne(block: number, base: bigint, insn: Insn, bytes: Uint8Array, at: number): void {
    const w = this.#writer;
    const i = this.#i;
    i.insn = insn;
    i.bytes = bytes;
    i.at = at;
    i.user = false;
    i.next.base = base;
    i.next.offset = at + insn.length;
    w.beginBlock(block);
    w.index = 0;
    w.start = 0;
    w.end = insn.length;
    this.#instruction(i);
    w.index = 1;
    w.plain(GOTO);
    // Where a block begins is of use to those that are found by it.
    w.setCell(block + BLOCK_COUNT, 1);
    w.setCell(block + BLOCK_SIZE, 1);
  }

  /** Begins a block of instructions that are decoded already, out of bytes whose first is at the address `base`. */
  beginRun(block: number, base: bigint, bytes: Uint8Array): void {
    const w = this.#writer;
    const i = this.#i;
    if (i.bytes !== bytes) i.bytes = bytes;
    i.user = false;
    i.next.base = base;
    w.beginBlock(block);
    w.index = 0;
    // Nobody asks where they are.
    w.start = 0;
    w.end = 0;
  }
  /** One decoded from an index of the bytes, which goes on to the next. */
  addToRun(insn: Insn, at: number): void {
    const i = this.#i;
    if (i.insn !== insn) i.insn = insn;
    i.at = at;
    i.next.offset = at + insn.length;
    this.#instruction(i);
    this.#writer.index++;
  }
  /** @returns how many instructions the block has */
  endRun(block: number): number {
    const w = this.#writer;
    w.plain(GOTO);
    w.setCell(block + BLOCK_COUNT, w.index);
    w.setCell(block + BLOCK_SIZE, w.index);
    return w.index;
  }

  /** @returns whether the block may go on behind it */
  #instruction(i: Instruction): boolean {
    const { insn, w } = i;
    const before = w.at;
    const table = insn.vex || insn.opcode > 0xfff ? undefined : insn.opcode < 0x100 ? ONE_BYTE : TWO_BYTES;
    const ofVectors = table === ONE_BYTE ? undefined : translateVector;
    const translate = insn.length === 0 ? undefined : (table?.[insn.opcode & 0xff] ?? ofVectors);
    const lockFits = !insn.locked || (insn.hasModrm && insn.mod !== 3 && (insn.facts & LOCKABLE) !== 0);
    if (!translate || !lockFits || translate(i) === false) {
      w.rewind(before);
      w.op(STOP_HERE, { imm: isTooLong(i) ? STOP_PROTECTION : STOP_UNDEFINED });
      return false;
    }
    return insn.flow === FLOW_NEXT && !repeats(insn);
  }

  #header(block: number, rip: bigint, count: number): void {
    const view = this.#view;
    view.setUint32(block + BLOCK_COUNT, count, true);
    view.setUint32(block + BLOCK_SIZE, count, true);
    view.setBigUint64(block + BLOCK_RIP, rip, true);
  }
}

const repeats = (insn: Insn): boolean => insn.length > 0 && insn.rep !== 0 && (insn.facts & STRING) !== 0;

/** An instruction that would be one with fewer prefixes: more than 15 bytes are #GP, not #UD. */
function isTooLong({ insn, bytes, at }: Instruction): boolean {
  if (insn.length !== 0) return false;
  const probe = new Insn();
  for (let from = at; isPrefix(bytes[from] as number) || isRex(bytes[from] as number); from++)
    if (decodeAt(bytes, from + 1, 0, probe).length > 0) return true;
  return false;
}

/** Whether the bytes are no instruction, whatever came behind them. */
function isWhole(bytes: Uint8Array, at: number): boolean {
  const rest = new Uint8Array(30);
  rest.set(bytes.subarray(at));
  const left = bytes.length - at;
  for (const filler of [0x00, 0xff, 0x90]) {
    rest.fill(filler, left);
    if (decodeAt(rest, 0, 0, new Insn()).length !== 0) return false;
  }
  return true;
}
