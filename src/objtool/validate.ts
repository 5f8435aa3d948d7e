// Follows every way through the code and notes the stack state before each instruction.
// Mirrors validate_branch() and its callers in tools/objtool/check.c.
//
// Invariant: of a conditional jump, the jump is followed before the next instruction, so
// that on a mismatch the state that stays is the one objtool keeps. The ways still to go
// are on a list and not on the call stack: functions of any length are fine. The first
// warning ends the function.

import { Cfi, cfiMismatch, functionCfi, hasModifiedFrame, UNDEFINED } from './cfi.ts';
import {
  type Code,
  type CodeInsn,
  type Func,
  INSN_BUG,
  INSN_CALL,
  INSN_CLD,
  INSN_CONTEXT_SWITCH,
  INSN_JUMP,
  INSN_JUMP_CONDITIONAL,
  INSN_JUMP_DYNAMIC,
  INSN_NOP,
  INSN_RETURN,
  INSN_STD,
  INSN_TRAP,
  isSiblingCall,
  placeName,
} from './insn.ts';
import { updateCfi } from './update_cfi.ts';

interface Way {
  readonly insn: CodeInsn;
  readonly cfi: Cfi;
  readonly df: boolean;
}

/** What comes after one instruction: the next one, or nothing, or a warning that ends the function. */
type Step = { readonly go: true } | { readonly go: false; readonly warning?: string };
const GO: Step = { go: true };
const STOP: Step = { go: false };
const fail = (warning: string): Step => ({ go: false, warning });

class Walk {
  readonly code: Code;
  readonly func: Func | undefined;
  readonly todo: Way[] = [];
  cfi: Cfi;
  df = false;

  constructor(code: Code, func: Func | undefined, cfi: Cfi) {
    this.code = code;
    this.func = func;
    this.cfi = cfi;
  }

  run(start: CodeInsn): void {
    this.todo.push({ insn: start, cfi: this.cfi, df: false });
    for (let way = this.todo.pop(); way; way = this.todo.pop()) {
      this.cfi = way.cfi;
      this.df = way.df;
      const warning = this.branch(way.insn);
      if (warning === undefined) continue;
      this.code.warnings.push(warning);
      return;
    }
  }

  /** Straight on from `start` until the way ends; the text of a warning if it ends badly. */
  branch(start: CodeInsn): string | undefined {
    let insn: CodeInsn | undefined = start;
    while (insn) {
      const here: CodeInsn = insn;
      const at = (text: string): string => `${placeName(this.code, here)}: ${text}`;
      if (this.func && here.func && this.func !== here.func.parent) {
        return `${this.func.symbol.name}() falls through to next function ${here.func.symbol.name}()`;
      }
      if (here.visited) {
        const mismatch = !here.hint && here.cfi ? cfiMismatch(here.cfi, this.cfi) : undefined;
        return mismatch === undefined ? undefined : at(mismatch);
      }
      const problem = this.enter(here);
      if (problem !== undefined) return at(problem);
      const next: CodeInsn | undefined = here.section.insns[here.index + 1];
      const step = this.step(here, next);
      if (!step.go) return step.warning === undefined ? undefined : at(step.warning);
      if (!next) {
        return this.cfi.cfaBase === UNDEFINED
          ? undefined
          : `${here.section.source.name}: unexpected end of section`;
      }
      insn = next;
    }
    return undefined;
  }

  /** The state before the instruction: a hint's, or the one that arrives. */
  enter(insn: CodeInsn): string | undefined {
    if (insn.hint && insn.restore) {
      const saved = this.findSave(insn);
      if (!saved) return 'no corresponding CFI save for CFI restore';
      if (!saved.visited) return "objtool isn't smart enough to handle this CFI save/restore combo";
      insn.cfi = saved.cfi;
    }
    if (insn.hint && insn.cfi) this.cfi = insn.cfi;
    else insn.cfi = this.cfi;
    insn.visited = true;
    return undefined;
  }

  findSave(insn: CodeInsn): CodeInsn | undefined {
    const { insns, source } = insn.section;
    const inside = this.code.symbols.find(
      (s) => s.section === source.name && insn.offset >= s.offset && insn.offset < s.offset + s.size,
    );
    const first = inside?.offset ?? 0;
    for (let i = insn.index - 1; i >= 0; i--) {
      const before = insns[i] as CodeInsn;
      if (before.offset < first) return undefined;
      if (before.save) return before;
    }
    return undefined;
  }

  step(insn: CodeInsn, next: CodeInsn | undefined): Step {
    const edges = insn.edges ?? [];
    const before = this.cfi;
    const problem = this.applyOps(insn, next);
    if (problem !== undefined) return fail(problem);
    const after = this.flow(insn, next);
    // Followed before all else, so put on the list last; with the state before the instruction.
    for (const edge of edges) this.todo.push({ insn: edge, cfi: before, df: this.df });
    if (!after.go || edges.length === 0 || !next || insn.deadEnd) return after;
    this.todo.splice(this.todo.length - edges.length, 0, { insn: next, cfi: this.cfi, df: this.df });
    return STOP;
  }

  applyOps(insn: CodeInsn, next: CodeInsn | undefined): string | undefined {
    if (insn.ops.length === 0) return undefined;
    const cfi = this.cfi.copy();
    const context = { callable: insn.func !== undefined, hintFollows: next?.hint ?? false };
    for (const op of insn.ops) {
      const problem = updateCfi(cfi, op, context);
      if (problem !== undefined) return problem;
    }
    this.cfi = cfi;
    return undefined;
  }

  flow(insn: CodeInsn, next: CodeInsn | undefined): Step {
    switch (insn.type) {
      case INSN_RETURN:
        if (this.df) return fail('return with DF set');
        return this.func && hasModifiedFrame(this.cfi) ? fail('return with modified stack frame') : STOP;
      case INSN_CALL:
        if (this.df) return fail(`call to ${insn.callDest?.name}() with DF set`);
        break;
      case INSN_JUMP:
      case INSN_JUMP_CONDITIONAL:
      case INSN_JUMP_DYNAMIC:
        return this.jump(insn, next);
      case INSN_CONTEXT_SWITCH:
        if (!this.func) return STOP;
        if (!next?.hint) return fail('unsupported instruction in callable function');
        break;
      case INSN_STD:
        if (this.df) return fail('recursive STD');
        this.df = true;
        break;
      case INSN_CLD:
        if (!this.df && this.func) return fail('redundant CLD');
        this.df = false;
        break;
    }
    return insn.deadEnd ? STOP : GO;
  }

  jump(insn: CodeInsn, next: CodeInsn | undefined): Step {
    if (isSiblingCall(insn)) {
      if (hasModifiedFrame(this.cfi)) {
        return fail('sibling call from callable instruction with modified stack frame');
      }
    } else if (insn.jumpDest) {
      if (insn.type === INSN_JUMP_CONDITIONAL && next) {
        this.todo.push({ insn: next, cfi: this.cfi, df: this.df });
      }
      this.todo.push({ insn: insn.jumpDest, cfi: this.cfi, df: this.df });
      return STOP;
    }
    return insn.type === INSN_JUMP_CONDITIONAL ? GO : STOP;
  }
}

/** Not reached, and no reason to wonder: padding, static call trampolines, ud2 after what does not return. */
function mayBeUnreached(insn: CodeInsn, previous: CodeInsn | undefined): boolean {
  if (insn.type === INSN_NOP || insn.type === INSN_TRAP) return true;
  if (!insn.func) return false;
  if (insn.func.symbol.name.startsWith('__SCT__')) return true;
  const endsInBug = insn.type === INSN_BUG || (insn.type === INSN_JUMP && insn.jumpDest?.type === INSN_BUG);
  return endsInBug && (previous?.deadEnd ?? false);
}

function warnUnreachable(code: Code): void {
  for (const { insns, source } of code.sections) {
    if (source.replacement) continue;
    for (const insn of insns) {
      if (insn.visited || mayBeUnreached(insn, insns[insn.index - 1])) continue;
      code.warnings.push(`${placeName(code, insn)}: unreachable instruction`);
      return;
    }
  }
}

/** Sets `cfi` of every instruction that can be reached. */
export function validateCode(code: Code): void {
  for (const func of code.funcs) {
    if (func.symbol.size === 0) code.warnings.push(`${func.symbol.name}() is missing an ELF size annotation`);
    if (func.parent !== func) continue;
    const section = code.sections.find((s) => s.source.name === func.symbol.section);
    const first = section?.at(func.symbol.offset);
    if (first && !first.visited) new Walk(code, func, functionCfi()).run(first);
  }
  for (const { insns } of code.sections) {
    for (const insn of insns) {
      if (insn.hint && !insn.visited) new Walk(code, insn.func?.parent, new Cfi()).run(insn);
    }
  }
  if (code.warnings.length === 0) warnUnreachable(code);
}
