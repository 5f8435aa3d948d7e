// The code around what is checked, as rows of a frame table: callers, the entry of an interrupt, the switch to another
// task. What ORC entries say of the same code (judge.ts, preempted_stack.ts), for unwinders that go by other tables.
//
// Invariant: these are rows as every format could have them; whether a format can is no matter of the object's.

import { ptRegsOffset } from '../arch/pt_regs.ts';
import { atCfa, byRegister, type FrameRow, type Rule, UNDEFINED } from '../frames/rows.ts';
import { CALLER_LO, CALLER_SIZE, LAST_CALLER_LO } from './check_layout.ts';
import { ENTRY_CODE, SAVED, SCHEDULE } from './preempted_stack.ts';
import { TABLES, TARGET } from './target.ts';

const { registers, callSize, ptRegs } = TABLES;
const { sp, returnAddress } = registers;

function called(room: number): FrameRow {
  const rules = new Map([[returnAddress, atCfa(-callSize)]]);
  return { cfa: byRegister(sp, callSize + room), rules, signal: false, returnAddress };
}

/** All of the registers are on the stack, from the stack pointer on. */
function interrupted(): FrameRow {
  const at = (word: string): number => ptRegsOffset(TARGET.ptRegs, word);
  const rules = new Map(ptRegs.map((word, i): [number, Rule] => [i, byRegister(sp, at(word), true)]));
  rules.delete(sp);
  return { cfa: byRegister(sp, at(ptRegs[sp]), true), rules, signal: true, returnAddress };
}

const LAST: FrameRow = {
  cfa: byRegister(sp, 0),
  rules: new Map([[returnAddress, UNDEFINED]]),
  signal: false,
  returnAddress,
};

/** From where they are in force, the last one first. */
const ROWS: readonly (readonly [from: number, row: FrameRow])[] = [
  [LAST_CALLER_LO, LAST],
  [SCHEDULE, called(SAVED)],
  [ENTRY_CODE, interrupted()],
  [CALLER_LO, called(0)],
];

/** At an address given by its low half; undefined outside of that code. */
export function callerRowAt(ip: number): FrameRow | undefined {
  const address = ip >>> 0;
  if (address >= CALLER_LO + CALLER_SIZE) return undefined;
  return ROWS.find(([from]) => address >= from)?.[1];
}
