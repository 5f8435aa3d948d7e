// Calls that a check executes instead of stepping over them: where they go.
//
// Invariant: 0 is every other call.

import { IN_ALT_GROUP } from '../objtool/insn.ts';
import type { LiveFrame } from './live_frames.ts';
import { TARGET } from './target.ts';
import type { Walk } from './walk.ts';

export class CallDestinations {
  readonly #walk: Walk;
  readonly #into: boolean;
  readonly #decoder = TARGET.code.decoder();

  /** `into`: calls within the object are followed. */
  constructor(walk: Walk, into: boolean) {
    this.#walk = walk;
    this.#into = into;
  }

  /** First instruction of the function of this object that is called, where calls are followed, and not in a circle. */
  callee(insn: number, frames: readonly LiveFrame[]): number {
    const { code } = this.#walk;
    const { callDest, input } = code;
    const func = callDest[insn];
    if (!this.#into || func === 0 || this.#walk.isFentry(insn)) return 0;
    if (frames.some((frame) => frame.func === func)) return 0;
    const section = input.symbols.section[func];
    return section === 0 || !input.sections[section]?.text ? 0 : code.at(section, input.symbols.value[func]);
  }

  /** Where a call goes to that stays in its replacement, as those that fill the return stack buffer do. */
  insideReplacement(insn: number): number {
    const { code } = this.#walk;
    const { section, offset, flags, altGroups, input } = code;
    const group = flags[insn] & IN_ALT_GROUP ? altGroups.get(insn) : undefined;
    if (!group?.original) return 0;
    this.#decoder.decode(input.sections[section[insn]].bytes, offset[insn]);
    const dest = code.at(section[insn], this.#decoder.target);
    return dest !== 0 && altGroups.get(dest) === group ? dest : 0;
  }

  /**
   * First instruction of what entry code calls that leaves registers on the stack where its return address was, or takes
   * another stack.
   */
  leavesRegisters(insn: number, hasRegisters: (func: number) => boolean): number {
    const { code } = this.#walk;
    const func = code.callDest[insn];
    if (func === 0 || !hasRegisters(func)) return 0;
    return code.at(code.input.symbols.section[func], code.input.symbols.value[func]);
  }
}
