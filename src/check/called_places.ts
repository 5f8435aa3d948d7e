// Which functions are called, by the code itself: others call or jump to them, they call ftrace, or return.

import {
  type Code,
  INSN_CALL,
  INSN_CALL_DYNAMIC,
  INSN_JUMP,
  INSN_JUMP_CONDITIONAL,
  INSN_JUMP_DYNAMIC,
  INSN_RETURN,
  someInsnOfFunc,
} from '../objtool/insn.ts';
import { fentrySymbols } from './paths.ts';

/** Through a thunk of the object's own, too. */
const BRANCHES: ReadonlySet<number> = new Set([
  INSN_CALL,
  INSN_CALL_DYNAMIC,
  INSN_JUMP,
  INSN_JUMP_CONDITIONAL,
  INSN_JUMP_DYNAMIC,
]);

export class CalledPlaces {
  readonly #code: Code;
  readonly #fentry: ReadonlySet<number>;
  #places: ReadonlySet<number> | undefined;

  readonly #isCalled: (func: number) => boolean;

  /** `isCalled`: by what its table says. What is not called may jump to what is not, either. */
  constructor(code: Code, isCalled: (func: number) => boolean) {
    this.#code = code;
    this.#isCalled = isCalled;
    this.#fentry = fentrySymbols(code);
  }

  /** Whether code of another function, which is called itself, has a branch to where it begins, or it calls ftrace first. */
  has(func: number): boolean {
    if (this.#isTraced(func)) return true;
    this.#places ??= this.#find();
    return this.#places.has(this.#place(func));
  }

  /** Whether a function has a return of its own. */
  returns(func: number): boolean {
    const { type } = this.#code;
    return someInsnOfFunc(this.#code, func, (insn) => type[insn] === INSN_RETURN);
  }

  #isTraced(func: number): boolean {
    const { section, value } = this.#code.input.symbols;
    const { callDest, type } = this.#code;
    const first = this.#code.at(section[func], value[func]);
    for (let insn = first; insn !== 0 && insn <= first + 1; insn++)
      if (type[insn] === INSN_CALL && this.#fentry.has(callDest[insn])) return true;
    return false;
  }

  #place(func: number): number {
    const { section, value } = this.#code.input.symbols;
    return section[func] * 2 ** 32 + value[func];
  }

  #find(): ReadonlySet<number> {
    const { count, type, callDest, func, input } = this.#code;
    const places = new Set<number>();
    const isKnown = new Uint8Array(input.symbols.count);
    for (let insn = 1; insn < count; insn++) {
      const dest = callDest[insn];
      if (dest === 0 || isKnown[dest]) continue;
      const kind = type[insn];
      if (!BRANCHES.has(kind) || func[insn] === 0 || func[insn] === dest || !this.#isCalled(func[insn]))
        continue;
      isKnown[dest] = 1;
      places.add(this.#place(dest));
    }
    return places;
  }
}
