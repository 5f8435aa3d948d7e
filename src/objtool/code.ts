// The instructions of all text sections, and where each may go next.
// Mirrors decode_sections() of tools/objtool/check.c: decode, dead ends, call and jump
// destinations, return thunks and retpolines, hints.

import {
  decodeAt, FLOW_CALL, FLOW_CALL_INDIRECT, FLOW_FAR, FLOW_INT3, FLOW_INVALID, FLOW_IRET, FLOW_JCC, FLOW_JMP,
  FLOW_JMP_INDIRECT, FLOW_RET, FLOW_SYSCALL, FLOW_SYSRET, FLOW_UD2, Insn,
} from '../isa/decoder.ts';
import type { Cfi } from './cfi.ts';
import { readHints } from './hints.ts';
import type { BranchTarget, CodeMark, CodeSection, CodeSymbol, ObjtoolInput } from './input.ts';
import { GLOBAL_NORETURNS } from './noreturn.ts';
import { CALL_OPS, IRET_OPS, type StackOp, stackOps } from './stack_op.ts';

export const INSN_OTHER = 0;
export const INSN_CALL = 1;
export const INSN_CALL_DYNAMIC = 2;
export const INSN_JUMP = 3;
export const INSN_JUMP_CONDITIONAL = 4;
export const INSN_JUMP_DYNAMIC = 5;
export const INSN_RETURN = 6;
export const INSN_CONTEXT_SWITCH = 7;
export const INSN_BUG = 8;
export const INSN_NOP = 9;
export const INSN_TRAP = 10;
export const INSN_STD = 11;
export const INSN_CLD = 12;

/** A callable function. */
export interface Func {
  readonly symbol: CodeSymbol;
  /** Of a cold part, the function that it was split from; else itself. */
  parent: Func;
  cold: Func | undefined;
}

/** What a call or a tail call goes to: a symbol here, or a name in another object. */
export interface CallDest {
  readonly name: string;
  readonly func: Func | undefined;
}

export interface CodeInsn {
  readonly section: SectionCode;
  readonly offset: number;
  readonly length: number;
  /** Position within section.insns. */
  readonly index: number;
  type: number;
  ops: readonly StackOp[];
  func: Func | undefined;
  deadEnd: boolean;
  callDest: CallDest | undefined;
  jumpDest: CodeInsn | undefined;
  /** Further ways on: jump labels and the like. */
  edges: CodeInsn[] | undefined;
  /** The stack state is given, not found. */
  hint: boolean;
  save: boolean;
  restore: boolean;
  /** The state before the instruction; set by a hint, or when the instruction is reached. */
  cfi: Cfi | undefined;
  visited: boolean;
}

export class SectionCode {
  readonly source: CodeSection;
  readonly insns: CodeInsn[] = [];
  readonly byOffset: Int32Array;

  constructor(source: CodeSection) {
    this.source = source;
    this.byOffset = new Int32Array(source.bytes.length).fill(-1);
  }

  at(offset: number): CodeInsn | undefined {
    return this.insns[this.byOffset[offset] ?? -1];
  }
}

export interface Code {
  readonly sections: readonly SectionCode[];
  readonly symbols: readonly CodeSymbol[];
  readonly funcs: readonly Func[];
  readonly hasHints: boolean;
  readonly warnings: string[];
}

function insnType(insn: Insn): number {
  switch (insn.flow) {
    case FLOW_CALL:
      return INSN_CALL;
    case FLOW_CALL_INDIRECT:
      return INSN_CALL_DYNAMIC;
    case FLOW_JMP:
      return INSN_JUMP;
    case FLOW_JCC:
      return INSN_JUMP_CONDITIONAL;
    case FLOW_JMP_INDIRECT:
      return INSN_JUMP_DYNAMIC;
    case FLOW_RET:
      return INSN_RETURN;
    case FLOW_IRET:
    case FLOW_SYSCALL:
    case FLOW_SYSRET:
      return INSN_CONTEXT_SWITCH;
    case FLOW_FAR:
      return insn.opcode === 0xff && (insn.reg & 7) === 3 ? INSN_CALL_DYNAMIC : INSN_CONTEXT_SWITCH;
    case FLOW_INT3:
      return INSN_TRAP;
    case FLOW_UD2:
      return INSN_BUG;
  }
  if (insn.vex) return INSN_OTHER;
  if (insn.opcode === 0x90 || insn.opcode === 0x0f0d || insn.opcode === 0x0f1f) return INSN_NOP;
  if (insn.opcode === 0xfd) return INSN_STD;
  return insn.opcode === 0xfc ? INSN_CLD : INSN_OTHER;
}

export class CodeBuilder implements Code {
  readonly input: ObjtoolInput;
  readonly sections: SectionCode[];
  readonly funcs: Func[] = [];
  readonly warnings: string[] = [];
  readonly hasHints: boolean;
  readonly #byName = new Map<string, SectionCode>();
  readonly #funcAt = new Map<string, Func>();
  readonly #noreturn = new Map<Func, boolean>();

  constructor(input: ObjtoolInput) {
    this.input = input;
    this.hasHints = input.hints.length > 0;
    this.sections = input.sections.map((source) => {
      const section = new SectionCode(source);
      this.#byName.set(source.name, section);
      return section;
    });
    for (const section of this.sections) this.decode(section);
    this.addFunctions();
    this.addMarks();
    this.addJumpDests();
    this.addCallDests();
    readHints(input.hints, (mark) => this.find(mark), (text) => this.warnings.push(text));
  }

  get symbols(): readonly CodeSymbol[] {
    return this.input.symbols;
  }

  find(mark: CodeMark): CodeInsn | undefined {
    return this.#byName.get(mark.section)?.at(mark.offset);
  }

  warn(insn: CodeInsn, text: string): void {
    this.warnings.push(`${placeName(this, insn)}: ${text}`);
  }

  decode(section: SectionCode): void {
    const { bytes } = section.source;
    const decoded = new Insn();
    for (let offset = 0; offset < bytes.length; ) {
      decodeAt(bytes, offset, offset, decoded);
      if (decoded.flow === FLOW_INVALID) {
        this.warnings.push(`can't decode instruction at ${section.source.name}:0x${offset.toString(16)}`);
        return;
      }
      const index = section.insns.length;
      const type = insnType(decoded);
      section.byOffset[offset] = index;
      section.insns.push({
        section, offset, length: decoded.length, index, type, ops: stackOps(decoded), func: undefined,
        deadEnd: type === INSN_BUG, callDest: undefined, jumpDest: undefined, edges: undefined,
        hint: false, save: false, restore: false, cfi: undefined, visited: false,
      });
      offset += decoded.length;
    }
  }

  addFunctions(): void {
    const byName = new Map<string, Func>();
    for (const symbol of this.input.symbols) {
      if (symbol.type !== 'func') continue;
      const func = { symbol, cold: undefined } as unknown as Func;
      func.parent = func;
      const key = `${symbol.section}\0${symbol.offset}`;
      if (this.#funcAt.has(key)) continue; // an alias
      this.#funcAt.set(key, func);
      byName.set(symbol.name, func);
      this.funcs.push(func);
      this.eachInsn(symbol, (insn) => {
        insn.func = func;
        // sync_core() returns to itself with iret; elsewhere it is entry code.
        if (insn.type === INSN_CONTEXT_SWITCH && isIret(insn)) {
          insn.type = INSN_OTHER;
          insn.ops = IRET_OPS;
        }
      });
    }
    for (const func of this.funcs) {
      const parent = /\.cold(\.\d+)?$/.test(func.symbol.name)
        ? byName.get(func.symbol.name.replace(/\.cold(\.\d+)?$/, ''))
        : undefined;
      if (parent) link(parent, func);
    }
  }

  eachInsn(symbol: CodeSymbol, visit: (insn: CodeInsn) => void): void {
    const section = this.#byName.get(symbol.section);
    let insn = section?.at(symbol.offset);
    while (insn && insn.offset < symbol.offset + symbol.size) {
      visit(insn);
      insn = section?.insns[insn.index + 1];
    }
  }

  addMarks(): void {
    for (const mark of this.input.deadEnds) {
      const insn = this.find(mark);
      if (insn) insn.deadEnd = true;
    }
    for (const mark of this.input.reachable ?? []) {
      const insn = this.find(mark);
      if (insn) insn.deadEnd = false;
    }
    for (const { from, to } of this.input.edges ?? []) {
      const [insn, dest] = [this.find(from), this.find(to)];
      if (!insn || !dest) continue;
      insn.edges ??= [];
      insn.edges.push(dest);
    }
  }

  /** The relocation of a branch, or where its displacement points. */
  target(insn: CodeInsn): BranchTarget {
    const { source } = insn.section;
    const relocated = source.targets?.get(insn.offset);
    if (relocated) return relocated;
    const offset = decodeAt(source.bytes, insn.offset, insn.offset).target;
    return { name: '', section: source.name, offset: offset | 0 };
  }

  nameAt(target: BranchTarget): string {
    if (target.name !== '' || target.section === undefined) return target.name;
    const found = this.symbolAt(target);
    return found?.name ?? '';
  }

  symbolAt(target: BranchTarget): CodeSymbol | undefined {
    this.#symbolAt ??= new Map(this.input.symbols.map((s) => [`${s.section}\0${s.offset}`, s]));
    return this.#symbolAt.get(`${target.section}\0${target.offset}`);
  }
  #symbolAt: Map<string, CodeSymbol> | undefined;

  funcAt(target: BranchTarget): Func | undefined {
    return this.#funcAt.get(`${target.section}\0${target.offset}`);
  }

  addJumpDests(): void {
    for (const section of this.sections) {
      for (const insn of section.insns) {
        if (insn.type === INSN_JUMP || insn.type === INSN_JUMP_CONDITIONAL) this.addJumpDest(insn);
      }
    }
  }

  addJumpDest(insn: CodeInsn): void {
    const target = this.target(insn);
    const name = this.nameAt(target);
    if (isReturnThunk(name)) {
      insn.type = INSN_RETURN;
      return;
    }
    if (isRetpoline(name)) {
      insn.type = INSN_JUMP_DYNAMIC;
      return;
    }
    const dest = target.section === undefined ? undefined : this.find(target as CodeMark);
    if (!dest) {
      if (target.section === undefined) {
        if (insn.func) insn.callDest = { name, func: undefined };
      } else {
        const at = `${target.section}+0x${(target.offset ?? 0).toString(16)}`;
        this.warn(insn, `can't find jump dest instruction at ${at}`);
      }
      return;
    }
    if (insn.func && dest.func && insn.func !== dest.func) {
      const isCold = (func: Func): boolean => func.symbol.name.includes('.cold');
      if (!isCold(insn.func) && isCold(dest.func)) link(insn.func, dest.func);
      else if (insn.func.parent !== dest.func.parent && dest.offset === dest.func.symbol.offset) {
        insn.callDest = { name: dest.func.symbol.name, func: dest.func };
        insn.jumpDest = dest;
        return;
      }
    }
    insn.jumpDest = dest;
  }

  addCallDests(): void {
    for (const section of this.sections) {
      for (const insn of section.insns) if (insn.type === INSN_CALL) this.addCallDest(insn);
    }
    for (const section of this.sections) {
      for (const insn of section.insns) {
        if (insn.type === INSN_CALL && this.callEnds(insn)) insn.deadEnd = true;
      }
    }
  }

  addCallDest(insn: CodeInsn): void {
    const target = this.target(insn);
    const name = this.nameAt(target);
    if (isRetpoline(name)) {
      insn.type = INSN_CALL_DYNAMIC;
      insn.ops = [];
      return;
    }
    const func = this.funcAt(target);
    const symbol = this.symbolAt(target);
    if (func || symbol || target.section === undefined) {
      if (insn.func && symbol && !func) this.warn(insn, 'unsupported call to non-function');
      insn.callDest = { name, func };
      insn.ops = [];
      return;
    }
    // A call within the function: a jump that leaves a return address behind.
    insn.type = INSN_JUMP;
    insn.ops = CALL_OPS;
    insn.jumpDest = this.find(target as CodeMark);
    if (!insn.jumpDest) this.warn(insn, "can't find call dest symbol");
  }

  callEnds(insn: CodeInsn): boolean {
    const dest = insn.callDest;
    if (!dest) return false;
    if (this.input.noreturn.has(dest.name) || GLOBAL_NORETURNS.has(dest.name)) return true;
    return dest.func !== undefined && this.neverReturns(dest.func, 0);
  }

  neverReturns(func: Func, depth: number): boolean {
    const known = this.#noreturn.get(func);
    if (known !== undefined) return known;
    const { name, global, size } = func.symbol;
    let result: boolean;
    if (this.input.noreturn.has(name) || (global && GLOBAL_NORETURNS.has(name))) result = true;
    else result = size > 0 && this.#hasNoReturn(func, depth);
    if (depth === 0) this.#noreturn.set(func, result);
    return result;
  }

  /** No return in it, and its tail call, if it has one, goes to a function of the same kind. */
  #hasNoReturn(func: Func, depth: number): boolean {
    const insns: CodeInsn[] = [];
    for (let part: Func | undefined = func; part; part = part.cold) this.eachInsn(part.symbol, (i) => insns.push(i));
    if (insns.length === 0 || insns.some((i) => i.type === INSN_RETURN)) return false;
    const tail = insns.find((i) => isSiblingCall(i));
    if (!tail) return true;
    if (!tail.jumpDest?.func || depth === 5) return false;
    return this.neverReturns(tail.jumpDest.func, depth + 1);
  }
}

/** A jump out of a callable function to another one. */
export function isSiblingCall(insn: CodeInsn): boolean {
  if (!insn.func) return false;
  if (insn.type === INSN_JUMP_DYNAMIC) return !insn.edges;
  return (insn.type === INSN_JUMP || insn.type === INSN_JUMP_CONDITIONAL) && insn.callDest !== undefined;
}

/** `name+0x12`, as objtool gives places. */
export function placeName(code: Code, insn: CodeInsn): string {
  const { offset } = insn;
  const { name } = insn.section.source;
  const inside = (s: CodeSymbol): boolean => s.section === name && offset >= s.offset && offset < s.offset + s.size;
  const symbol = code.symbols.find((s) => s.type === 'func' && inside(s)) ?? code.symbols.find(inside);
  return symbol ? `${symbol.name}+0x${(offset - symbol.offset).toString(16)}` : `${name}+0x${offset.toString(16)}`;
}

function link(parent: Func, cold: Func): void {
  parent.cold = cold;
  cold.parent = parent;
}

function isIret(insn: CodeInsn): boolean {
  const { bytes } = insn.section.source;
  return bytes[insn.offset + insn.length - 1] === 0xcf;
}

const isReturnThunk = (name: string): boolean => name === '__x86_return_thunk';
const isRetpoline = (name: string): boolean => name.startsWith('__x86_indirect_');
