// Follows every way through the code and notes the stack state before each instruction.
// Mirrors validate_branch() and its callers in tools/objtool/check.c.
//
// Invariant: of a conditional jump, the jump is followed before the next instruction, and
// other ways before either, so that on a mismatch the state that stays is the one objtool
// keeps. The ways still to go are on a list and not on the call stack: functions of any
// length are fine. The first warning ends the function; where hints are gone, the way that it is on.

import { UNDEFINED } from '../arch/code.ts';
import { CFA_BASE, type CfiTable, cfiMismatch, FUNC_CFI, hasModifiedFrame, INIT_CFI, NO_CFI } from './cfi.ts';
import { SYM_SECTION } from './input.ts';
import {
  type Code,
  callableAt,
  IN_ALT_GROUP,
  IN_ALTS,
  IN_DEAD_END,
  IN_HINT,
  IN_IGNORE,
  IN_IGNORE_ALTS,
  IN_IGNORE_ARM,
  IN_LAST,
  IN_RESTORE,
  IN_SAVE,
  IN_VISITED,
  INSN_BUG,
  INSN_CALL,
  INSN_CLD,
  INSN_CONTEXT_SWITCH,
  INSN_JUMP,
  INSN_JUMP_CONDITIONAL,
  INSN_JUMP_DYNAMIC,
  INSN_JUMP_DYNAMIC_CONDITIONAL,
  INSN_NOP,
  INSN_OTHER,
  INSN_RETURN,
  INSN_STD,
  INSN_TRAP,
  isSiblingCall,
  MAX_WARNINGS,
  nextInSection,
  placeName,
} from './insn.ts';
import { SymbolRanges } from './symbol_ranges.ts';
import { CFI_PROBLEMS, CFI_UNDEFINED, CFI_UNSUPPORTED_MODIFICATION, CfiTransitions } from './update_cfi.ts';

/** What comes after one instruction. */
const GO = 0;
const STOP = 1;

/** The rest of an instruction whose other ways have been followed. */
const RESUME = 1;
const DF = 2;

/** From a hint that restores a state to the one that saved it, in instructions. */
const MAX_SAVE_DISTANCE = 10_000;

class Walk {
  readonly #code: Code;
  readonly #cfis: CfiTable;
  readonly #transitions: CfiTransitions;
  /** Pairs: instruction with RESUME and DF in the low bits, state. */
  readonly #todo: number[] = [];
  #func = 0;
  #cfi = NO_CFI;
  #df = false;
  #problem: string | undefined;
  #ranges: SymbolRanges | undefined;

  constructor(code: Code, cfis: CfiTable) {
    this.#code = code;
    this.#cfis = cfis;
    this.#transitions = new CfiTransitions(cfis);
  }

  /** From `start`, as part of a function (0: of none). */
  run(start: number, func: number, cfi: number): void {
    const todo = this.#todo;
    this.#func = func;
    todo.push(start << 2, cfi);
    while (todo.length > 0) {
      this.#cfi = todo.pop() as number;
      const way = todo.pop() as number;
      this.#df = (way & DF) !== 0;
      const insn = way >>> 2;
      if (this.#branch(insn, (way & RESUME) !== 0)) continue;
      if (this.#problem !== undefined && this.#code.warnings.length < MAX_WARNINGS) {
        this.#code.warnings.push(this.#problem);
      }
      if (!this.#code.input.isLinked) todo.length = 0;
    }
  }

  #later(insn: number, cfi: number, resume = false): void {
    this.#todo.push((insn << 2) | (resume ? RESUME : 0) | (this.#df ? DF : 0), cfi);
  }

  #fail(insn: number, text: string): false {
    // Places take time to find, and a broken object may fail everywhere.
    const enough = this.#code.warnings.length >= MAX_WARNINGS;
    this.#problem = enough ? text : `${placeName(this.#code, insn)}: ${text}`;
    return false;
  }

  /** Straight on from `insn` until the way ends; false if it ends badly. */
  #branch(start: number, resume: boolean): boolean {
    const code = this.#code;
    const { flags, func, parent, entry, cfi, opCode, type } = code;
    let insn = start;
    for (let entered = resume; ; entered = false) {
      const flag = flags[insn];
      if (!entered) {
        if (this.#func !== 0 && func[insn] !== 0 && this.#func !== parent[func[insn]] && !entry[func[insn]]) {
          return this.#fallsThrough(insn);
        }
        if (flag & IN_VISITED) {
          if (flag & IN_HINT || cfi[insn] === this.#cfi) return true;
          const mismatch = cfiMismatch(this.#cfis, cfi[insn], this.#cfi);
          return mismatch === undefined || this.#fail(insn, mismatch);
        }
        if (flag & IN_HINT) {
          if (!this.#enterHint(insn)) return false;
        } else cfi[insn] = this.#cfi;
        flags[insn] |= IN_VISITED;
        if (flag & IN_ALT_GROUP && !this.#shareCfi(insn)) return false;
        if (flag & IN_ALTS && !(flag & IN_IGNORE_ALTS)) {
          if (!(flag & IN_IGNORE_ARM)) this.#later(insn, this.#cfi, true);
          const ways = code.alts.get(insn) as number[];
          for (let i = ways.length - 1; i >= 0; i--) this.#later(ways[i], this.#cfi);
          return true;
        }
      }
      const next = flag & (IN_ALT_GROUP | IN_LAST) ? this.#next(insn) : insn + 1;
      if (opCode[insn] !== 0 && !this.#applyOp(insn, next)) return false;
      const plain = type[insn] === INSN_OTHER && (flag & IN_DEAD_END) === 0;
      if (!plain && this.#flow(insn, next) === STOP) return this.#problem === undefined;
      if (next === 0) {
        if (this.#cfis.get(this.#cfi, CFA_BASE) === UNDEFINED) return true;
        this.#problem = `${code.input.sections[code.section[insn]].name}: unexpected end of section`;
        return false;
      }
      insn = next;
    }
  }

  #fallsThrough(insn: number): boolean {
    const { symbols } = this.#code.input;
    const name = symbols.name(this.#func);
    // What stands before a function for its callers' use runs into it.
    if (name.startsWith('__cfi_') || name.startsWith('__pfx_')) return true;
    const next = symbols.name(this.#code.func[insn]);
    this.#problem = `${name}() falls through to next function ${next}()`;
    return false;
  }

  /** At the end of a replacement what follows is the code behind the original. */
  #next(insn: number): number {
    const code = this.#code;
    if (code.flags[insn] & IN_ALT_GROUP) {
      const group = code.altGroups.get(insn);
      if (group?.original) {
        if (insn === group.last) return nextInSection(code, group.original.last);
        if (
          group.last >= code.count &&
          (nextInSection(code, insn) === 0 || !this.#inGroup(insn + 1, group))
        ) {
          return group.last;
        }
      }
    }
    return nextInSection(code, insn);
  }

  #inGroup(insn: number, group: object): boolean {
    return this.#code.altGroups.get(insn) === group;
  }

  #enterHint(insn: number): boolean {
    const code = this.#code;
    if (code.flags[insn] & IN_RESTORE) {
      const saved = this.#findSave(insn);
      if (saved === 0) return this.#fail(insn, 'no corresponding CFI save for CFI restore');
      if (!(code.flags[saved] & IN_VISITED)) {
        return this.#fail(insn, "objtool isn't smart enough to handle this CFI save/restore combo");
      }
      code.cfi[insn] = code.cfi[saved];
    }
    if (code.cfi[insn] === NO_CFI) code.cfi[insn] = this.#cfi;
    this.#cfi = code.cfi[insn];
    return true;
  }

  #findSave(insn: number): number {
    const code = this.#code;
    const { symbols } = code.input;
    const section = code.section[insn];
    this.#ranges ??= new SymbolRanges(symbols, (s) => symbols.type[s] !== SYM_SECTION);
    const symbol = this.#ranges.at(section, code.offset[insn]);
    const first = symbol === 0 ? 0 : symbols.value[symbol];
    const lowest = Math.max(code.firstOf[section], insn - MAX_SAVE_DISTANCE);
    for (let i = insn - 1; i >= lowest && code.offset[i] >= first; i--) if (code.flags[i] & IN_SAVE) return i;
    return 0;
  }

  /** The state at this distance from the start must be the same in the original and its replacement. */
  #shareCfi(insn: number): boolean {
    const code = this.#code;
    const group = code.altGroups.get(insn);
    if (!group) return true;
    const at = code.offset[insn] - code.offset[group.first];
    if (at < 0 || at >= group.cfi.length) return true;
    if (group.cfi[at] === NO_CFI) group.cfi[at] = code.cfi[insn];
    else if (group.cfi[at] !== code.cfi[insn]) {
      return this.#fail(insn, 'stack layout conflict in alternatives');
    }
    return true;
  }

  #applyOp(insn: number, next: number): boolean {
    const code = this.#code;
    const result = this.#transitions.after(this.#cfi, code.opCode[insn], code.opOffset[insn]);
    if (result > 0) {
      this.#cfi = result;
      return true;
    }
    if (result === CFI_UNDEFINED && callableAt(code, insn) === 0) return true;
    const hintFollows = next !== 0 && (code.flags[next] & IN_HINT) !== 0;
    if (result === CFI_UNSUPPORTED_MODIFICATION && hintFollows) return true;
    return this.#fail(insn, CFI_PROBLEMS[result]);
  }

  #flow(insn: number, next: number): number {
    const code = this.#code;
    this.#problem = undefined;
    switch (code.type[insn]) {
      case INSN_RETURN:
        if (this.#df) this.#fail(insn, 'return with DF set');
        else if (this.#func !== 0 && hasModifiedFrame(this.#cfis, this.#cfi)) {
          this.#fail(insn, 'return with modified stack frame');
        }
        return STOP;
      case INSN_CALL:
        if (!this.#df) break;
        this.#fail(insn, `call to ${code.input.symbols.name(code.callDest[insn])}() with DF set`);
        return STOP;
      case INSN_JUMP:
      case INSN_JUMP_CONDITIONAL:
      case INSN_JUMP_DYNAMIC:
      case INSN_JUMP_DYNAMIC_CONDITIONAL:
        return this.#jump(insn, next);
      case INSN_CONTEXT_SWITCH:
        if (this.#func === 0) return STOP;
        if (next !== 0 && code.flags[next] & IN_HINT) break;
        if (next !== 0 && this.#isHypercall(insn)) break;
        this.#fail(insn, 'unsupported instruction in callable function');
        return STOP;
      case INSN_STD:
        if (this.#df) {
          this.#fail(insn, 'recursive STD');
          return STOP;
        }
        this.#df = true;
        break;
      case INSN_CLD:
        if (!this.#df && this.#func !== 0) {
          this.#fail(insn, 'redundant CLD');
          return STOP;
        }
        this.#df = false;
        break;
    }
    return code.flags[insn] & IN_DEAD_END ? STOP : GO;
  }

  /** The source has hints around it, which a linked kernel has not. */
  #isHypercall(insn: number): boolean {
    const { input, section, offset } = this.#code;
    return (
      input.isLinked === true && input.arch.isHypercall(input.sections[section[insn]].bytes, offset[insn])
    );
  }

  #jump(insn: number, next: number): number {
    const code = this.#code;
    const type = code.type[insn];
    const conditional = type === INSN_JUMP_CONDITIONAL || type === INSN_JUMP_DYNAMIC_CONDITIONAL;
    if (isSiblingCall(code, insn)) {
      if (hasModifiedFrame(this.#cfis, this.#cfi)) {
        this.#fail(insn, 'sibling call from callable instruction with modified stack frame');
        return STOP;
      }
    } else if (code.jumpDest[insn] !== 0) {
      if (conditional && next !== 0) this.#later(next, this.#cfi);
      this.#later(code.jumpDest[insn], this.#cfi);
      return STOP;
    }
    return conditional ? GO : STOP;
  }
}

/** Not reached, and no reason to wonder: padding, static call trampolines, ud2 after what does not return. */
function mayBeUnreached(code: Code, insn: number): boolean {
  const type = code.type[insn];
  if (type === INSN_NOP || type === INSN_TRAP || code.flags[insn] & IN_IGNORE) return true;
  if (code.func[insn] === 0) return false;
  if (code.input.symbols.name(code.func[insn]).startsWith('__SCT__')) return true;
  const endsInBug = type === INSN_BUG || (type === INSN_JUMP && code.type[code.jumpDest[insn]] === INSN_BUG);
  return endsInBug && (code.flags[insn - 1] & IN_DEAD_END) !== 0;
}

function warnUnreachable(code: Code): void {
  const { flags, count } = code;
  for (let insn = 1; insn < count; insn++) {
    if (flags[insn] & IN_VISITED || code.input.sections[code.section[insn]].replacement) continue;
    if (mayBeUnreached(code, insn)) continue;
    code.warnings.push(`${placeName(code, insn)}: unreachable instruction`);
    return;
  }
}

/** Sets `cfi` of every instruction that can be reached. */
export function validateCode(code: Code, cfis: CfiTable): void {
  const { symbols } = code.input;
  const walk = new Walk(code, cfis);
  for (const func of code.funcs) {
    if (symbols.size[func] === 0)
      code.warnings.push(`${symbols.name(func)}() is missing an ELF size annotation`);
    if (code.parent[func] !== func || code.entry[func]) continue;
    const first = code.at(symbols.section[func], symbols.value[func]);
    if (first !== 0 && !(code.flags[first] & (IN_VISITED | IN_IGNORE))) {
      walk.run(first, code.parent[code.func[first]] || func, FUNC_CFI);
    }
  }
  for (let insn = 1; insn < code.count && code.input.hints.length > 0; insn++) {
    const flags = code.flags[insn];
    if (!(flags & IN_HINT) || flags & (IN_VISITED | IN_IGNORE)) continue;
    const func = callableAt(code, insn);
    walk.run(insn, func === 0 ? 0 : code.parent[func], INIT_CFI);
  }
  if (code.warnings.length === 0) warnUnreachable(code);
}
