// Where the pointer in a register came from: an object that was read, or an argument. By going over a function's code along
// its direct branches until nothing changes.

import {
  decodeAt,
  FLOW_CALL,
  FLOW_CALL_INDIRECT,
  FLOW_JCC,
  FLOW_JMP,
  FLOW_NEXT,
  Insn,
  REX_B,
  REX_W,
  WRITES,
  WRITES_MASK,
} from '../../../isa/decoder.ts';
import type { FunctionText, Origin, OriginReader } from '../../origins.ts';

const [RAX, RCX, RDX, RSP, RSI, RDI] = [0, 1, 2, 4, 6, 7];
const ARGUMENTS = [RDI, RSI, RDX, RCX, 8, 9];
const CALLER_SAVED = [RAX, RCX, RDX, RSI, RDI, 8, 9, 10, 11];
const COUNT = 16;
const SEGMENT_GS = 0x65;
/** What stands at a function's start is no call of it. */
const FENTRY_OFFSET = 4;

const PUSH = 0x50;
const MOV_IMM = 0xb8;
const MOV_RM_IMM = 0xc7;
const MOV_TO_RM = 0x89;
const MOV_FROM_RM = 0x8b;
const LEA = 0x8d;
const ADD_FROM_RM = 0x03;
/** add, or, and, sub of a constant: a pointer stays one into the same object. */
const WITH_IMM = [0x81, 0x83];
const NONE = -1;

/** A register holds the address of an object, what was read from it (and beyond), or an argument (and beyond). */
type Value =
  | { readonly is: 'place'; readonly address: number; readonly isPerCpu: boolean }
  | { readonly is: 'read'; readonly address: number; readonly isPerCpu: boolean }
  | { readonly is: 'argument'; readonly index: number }
  | undefined;

type State = readonly Value[];

const isSame = (a: Value, b: Value): boolean =>
  a === b ||
  (a !== undefined &&
    b !== undefined &&
    a.is === b.is &&
    ('index' in a
      ? a.index === (b as { index: number }).index
      : a.address === (b as { address: number }).address));

const originOf = (value: Value): Origin | undefined => {
  if (value?.is === 'argument') return { kind: 'argument', index: value.index };
  return value?.is === 'read'
    ? { kind: 'object', address: value.address, isPerCpu: value.isPerCpu }
    : undefined;
};

export const ORIGINS: OriginReader = {
  addressed(func, at) {
    const found = new Walk(func);
    const state = found.before(at - func.start);
    const insn = decodeAt(func.bytes, at - func.start, at, new Insn());
    if (!state || insn.length === 0 || !insn.hasModrm || insn.mod === 3) return undefined;
    return originOf(state[baseOf(insn)]);
  },
  argument(func, returnsTo, index) {
    const walk = new Walk(func);
    return originOf(walk.before(walk.endingAt(returnsTo - func.start))?.[ARGUMENTS[index]]);
  },
  callee(func, returnsTo) {
    const walk = new Walk(func);
    const at = walk.endingAt(returnsTo - func.start);
    const state = walk.before(at);
    if (!state) return undefined;
    const insn = decodeAt(func.bytes, at, func.start + at, new Insn());
    if (insn.flow !== FLOW_CALL_INDIRECT) return undefined;
    return originOf(insn.mod === 3 ? state[insn.rm] : loaded(insn, state, func.start + at));
  },
};

/** The register that memory is addressed by; NONE for none, or the stack. */
function baseOf({ hasSib, sibBase, rm, mod, ripRelative }: Insn): number {
  if (ripRelative) return NONE;
  if (!hasSib) return rm;
  return (sibBase & 7) === 5 && mod === 0 ? NONE : sibBase;
}

/** What a load from the operand brings. */
function loaded(insn: Insn, state: State, address: number): Value {
  const isPerCpu = insn.segment === SEGMENT_GS;
  if (insn.ripRelative) return { is: 'read', address: (address + insn.length + insn.disp) >>> 0, isPerCpu };
  const base = baseOf(insn);
  if (base === RSP) return undefined;
  if (base === NONE) return { is: 'read', address: insn.disp >>> 0, isPerCpu };
  const value = state[base];
  return value?.is === 'place' ? { ...value, is: 'read', address: (value.address + insn.disp) >>> 0 } : value;
}

class Walk {
  readonly #func: FunctionText;
  readonly #states = new Map<number, State>();
  readonly #ends = new Map<number, number>();
  readonly #insn = new Insn();

  constructor(func: FunctionText) {
    this.#func = func;
    const entry: Value[] = new Array(COUNT).fill(undefined);
    for (const [index, register] of ARGUMENTS.entries()) entry[register] = { is: 'argument', index };
    this.#states.set(0, entry);
    for (const queue = [0]; queue.length > 0; ) this.#step(queue.pop() as number, queue);
  }

  before(offset: number): State | undefined {
    return this.#states.get(offset);
  }

  /** Where the instruction begins behind which that offset is; NONE for none that was gone over. */
  endingAt(offset: number): number {
    return this.#ends.get(offset) ?? NONE;
  }

  #step(at: number, queue: number[]): void {
    const { bytes, start } = this.#func;
    const insn = decodeAt(bytes, at, start + at, this.#insn);
    if (insn.length === 0) return;
    this.#ends.set(at + insn.length, at);
    const after = this.#after(insn, at, this.#states.get(at) as State);
    const goesOn = [FLOW_NEXT, FLOW_CALL, FLOW_CALL_INDIRECT, FLOW_JCC].includes(insn.flow);
    if (goesOn) this.#reach(at + insn.length, after, queue);
    if (insn.flow === FLOW_JMP || insn.flow === FLOW_JCC)
      this.#reach((insn.target - start) | 0, after, queue);
  }

  #reach(at: number, state: State, queue: number[]): void {
    if (at < 0 || at >= this.#func.bytes.length) return;
    const known = this.#states.get(at);
    const merged = known ? known.map((value, i) => (isSame(value, state[i]) ? value : undefined)) : state;
    if (known?.every((value, i) => value === merged[i])) return;
    this.#states.set(at, merged);
    queue.push(at);
  }

  #after(insn: Insn, at: number, before: State): State {
    const state = [...before];
    if (insn.flow === FLOW_CALL || insn.flow === FLOW_CALL_INDIRECT) {
      if (at > FENTRY_OFFSET) for (const register of CALLER_SAVED) state[register] = undefined;
      return state;
    }
    const { opcode, mod, reg, rm, rex } = insn;
    const isWide = (rex & REX_W) !== 0;
    if (!insn.vex && WITH_IMM.includes(opcode) && mod === 3 && isWide && before[rm]?.is !== 'place')
      return state;
    if (!insn.vex && opcode >= PUSH && opcode < PUSH + 8) return state;
    const value = insn.vex ? undefined : this.#value(insn, before, at);
    overwrite(insn, state);
    if (value === undefined) return state;
    if (opcode >= MOV_IMM && opcode < MOV_IMM + 8) state[(opcode & 7) | (rex & REX_B ? 8 : 0)] = value;
    else state[opcode === MOV_TO_RM || opcode === MOV_RM_IMM ? rm : reg] = value;
    return state;
  }

  #value(insn: Insn, before: State, at: number): Value {
    const { opcode, mod, reg, rm, rex } = insn;
    if ((rex & REX_W) === 0) return undefined;
    const address = this.#func.start + at;
    const isImmediate = (opcode >= MOV_IMM && opcode < MOV_IMM + 8) || (opcode === MOV_RM_IMM && mod === 3);
    if (isImmediate)
      return insn.imm < 0 ? { is: 'place', address: insn.imm >>> 0, isPerCpu: false } : undefined;
    if (opcode === MOV_TO_RM && mod === 3) return before[reg];
    if (opcode === MOV_FROM_RM) return mod === 3 ? before[rm] : loaded(insn, before, address);
    if (opcode === ADD_FROM_RM) return before[reg]?.is === 'place' ? undefined : before[reg];
    if (opcode !== LEA) return undefined;
    if (insn.ripRelative)
      return { is: 'place', address: (address + insn.length + insn.disp) >>> 0, isPerCpu: false };
    const base = baseOf(insn);
    const value = base === NONE || base === RSP ? undefined : before[base];
    if (value?.is !== 'place') return value;
    return insn.hasSib && insn.sibIndex !== RSP
      ? undefined
      : { ...value, address: (value.address + insn.disp) >>> 0 };
  }
}

function overwrite({ facts, vex, mod, reg, rm, opcode, rex, hasModrm }: Insn, state: Value[]): void {
  const writes = facts & WRITES_MASK;
  if (writes === WRITES.UNKNOWN) state.fill(undefined);
  if (vex || writes === WRITES.ANY) {
    for (const register of [RAX, RCX, RDX]) state[register] = undefined;
    if (hasModrm) state[reg] = undefined;
    if (hasModrm && mod === 3) state[rm] = undefined;
  }
  if ((writes === WRITES.RM || writes === WRITES.BOTH) && mod === 3) state[rm] = undefined;
  if (writes === WRITES.REG || writes === WRITES.BOTH) state[reg] = undefined;
  if (writes === WRITES.OPCODE) state[(opcode & 7) | (rex & REX_B ? 8 : 0)] = undefined;
}
