// Breakpoints that were told of and whose instruction is still to be executed, as RF of RFLAGS has it on hardware: an
// interrupt or another task may come between, and the instruction is executed behind it without being told of again.
// Intel SDM volume 3, 18.3.1.1.

import type { Addr } from '../../../guest/addr.ts';
import { REG } from '../context.ts';
import type { CoreContext } from './core_context.ts';

interface Met {
  readonly context: CoreContext;
  readonly rip: Addr;
  /** Whose it is: no two that wait have the same place on one stack. */
  readonly rsp: Addr;
}

/** Stacks of the kernel are of this size. */
const STACK = 0x4000n;

export class BreakpointsMet {
  #waiting: Met[] = [];

  clear(): void {
    this.#waiting = [];
  }

  /** It was told of. What waited further down on the same stack never came back: its frames are gone. */
  add(context: CoreContext): void {
    const [rip, rsp] = [context.regs[REG.rip], context.regs[REG.rsp]];
    this.#waiting = this.#waiting.filter(
      (met) => rsp <= met.rsp || rsp - met.rsp > STACK || rsp / STACK !== met.rsp / STACK,
    );
    this.#waiting.push({ context, rip, rsp });
  }

  /**
   * Whether a context is at one that was told of, which is over now. It may have been told of on another CPU, which has
   * gone on meanwhile.
   */
  take(context: CoreContext): boolean {
    const found = this.#waiting.findIndex(
      (met) => isAt(context, met) && (met.context === context || !isAt(met.context, met)),
    );
    if (found < 0) return false;
    this.#waiting.splice(found, 1);
    return true;
  }
}

const isAt = ({ regs }: CoreContext, { rip, rsp }: Met): boolean =>
  regs[REG.rip] === rip && regs[REG.rsp] === rsp;
