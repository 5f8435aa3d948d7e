// The instructions of all text sections, and where each may go next.
// Mirrors decode_sections() of tools/objtool/check.c: decode, dead ends, call and jump
// destinations, return thunks and retpolines, hints.

import { decodeAt, FLOW_INVALID, Insn } from '../isa/decoder.ts';
import { readHints } from './hints.ts';
import type { BranchTarget, CodeMark, CodeSymbol, ObjtoolInput } from './input.ts';
import {
  type Code,
  type CodeInsn,
  type Func,
  INSN_BUG,
  INSN_CALL,
  INSN_CALL_DYNAMIC,
  INSN_CONTEXT_SWITCH,
  INSN_JUMP,
  INSN_JUMP_CONDITIONAL,
  INSN_JUMP_DYNAMIC,
  INSN_OTHER,
  INSN_RETURN,
  insnType,
  isSiblingCall,
  placeName,
  SectionCode,
} from './insn.ts';
import { GLOBAL_NORETURNS } from './noreturn.ts';
import { CALL_OPS, IRET_OPS, stackOps } from './stack_op.ts';

export class CodeBuilder implements Code {
  readonly input: ObjtoolInput;
  readonly sections: SectionCode[];
  readonly funcs: Func[] = [];
  readonly warnings: string[] = [];
  readonly #byName = new Map<string, SectionCode>();
  readonly #funcAt = new Map<string, Func>();
  readonly #noreturn = new Map<Func, boolean>();

  constructor(input: ObjtoolInput) {
    this.input = input;
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
    readHints(
      input.hints,
      (mark) => this.find(mark),
      (text) => this.warnings.push(text),
    );
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
        section,
        offset,
        length: decoded.length,
        index,
        type,
        ops: stackOps(decoded),
        func: undefined,
        deadEnd: type === INSN_BUG,
        callDest: undefined,
        jumpDest: undefined,
        edges: undefined,
        hint: false,
        save: false,
        restore: false,
        cfi: undefined,
        visited: false,
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
    const relocated = source.targets?.get(insn.offset + insn.length - 4);
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
    for (let part: Func | undefined = func; part; part = part.cold)
      this.eachInsn(part.symbol, (i) => insns.push(i));
    if (insns.length === 0 || insns.some((i) => i.type === INSN_RETURN)) return false;
    const tail = insns.find((i) => isSiblingCall(i));
    if (!tail) return true;
    if (!tail.jumpDest?.func || depth === 5) return false;
    return this.neverReturns(tail.jumpDest.func, depth + 1);
  }
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
