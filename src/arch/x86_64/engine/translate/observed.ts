// What an observer adds to an instruction's operations: core/observe.ts does it.

import { FLOW_CALL, FLOW_CALL_INDIRECT, FLOW_IRET, FLOW_RET, type Insn } from '../../../../isa/decoder.ts';
import { BREAK_HERE, DRAIN, OBSERVED } from '../../core/kinds.ts';
import { EVENT_CALL, EVENT_RETURN } from '../../core/layout.ts';
import type { Instruction } from './instruction.ts';

/** What of it is switched on. */
export interface Observed {
  /** Called before an instruction's own operations are written, and behind them. */
  before(i: Instruction): void;
  after(i: Instruction): void;
}

interface Wanted {
  readonly breakpoints: ReadonlySet<bigint>;
  readonly blocks: boolean;
  readonly calls: boolean;
  readonly accesses: boolean;
  readonly holds: boolean;
  /** The cell that counts an instruction, 0 for none; undefined where none are counted. */
  readonly counter: ((rip: bigint) => number) | undefined;
}

const BLOCK_BEGINS = 1;
const NUMBER_WANTED = 2;
const TRANSFERS: Readonly<Record<number, number>> = {
  [FLOW_CALL]: EVENT_CALL,
  [FLOW_CALL_INDIRECT]: EVENT_CALL,
  [FLOW_RET]: EVENT_RETURN,
  [FLOW_IRET]: EVENT_RETURN,
};

export class ObservedInstructions implements Observed {
  readonly #wanted: Wanted;

  constructor(wanted: Wanted) {
    this.#wanted = wanted;
  }

  before({ w, insn, next }: Instruction): void {
    const { breakpoints, blocks, calls, accesses, holds, counter } = this.#wanted;
    const rip = next.plus(-insn.length);
    if (breakpoints.has(rip)) w.op(BREAK_HERE);
    const counts = counter?.(rip) ?? 0;
    const what = (blocks && w.index === 0 ? BLOCK_BEGINS : 0) | (accesses ? NUMBER_WANTED : 0);
    const transfer = calls ? (TRANSFERS[insn.flow] ?? 0) : 0;
    // Where calls are told of, every block tells where the one before it led to.
    const isTarget = calls && w.index === 0;
    if (counts !== 0 || what !== 0 || transfer !== 0 || isTarget)
      w.op(OBSERVED, { a: counts, b: what, c: transfer });
    if (holds && insn.opcode === 0xcf) w.op(DRAIN);
  }

  after({ w, insn }: Instruction): void {
    if (this.#wanted.holds && drainsBehind(insn)) w.op(DRAIN);
  }
}

/**
 * Behind a locked instruction, a fence, one that serialises: no store waits. Intel SDM volume 3, 12.10. What the engine
 * does itself (machine_instructions.ts) is not here.
 */
function drainsBehind({ opcode, locked, mod, reg, vex }: Insn): boolean {
  if (vex) return false;
  if (locked) return true;
  const isMemory = mod !== 3;
  if (opcode === 0x86 || opcode === 0x87) return isMemory; // xchg locks by itself
  if (opcode === 0x0fae) return !isMemory && (reg & 7) >= 6; // mfence sfence
  return opcode === 0x0f08 || opcode === 0x0f09 || opcode === 0x0f22; // invd wbinvd, mov to a control register
}
