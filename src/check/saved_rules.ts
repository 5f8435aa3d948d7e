// What a frame table says of the registers that a function has to give back, the frame pointer apart, held against where
// their values are: whoever stands in the caller reads them by these rules.
//
// Invariant: a verdict of a trace does not hang on it, since no walk of the kernel's goes by these registers; a rule that
// says that a value is lost is no wrong one.

import type { FrameTable } from '../frames/frame_table.ts';
import type { FrameRow, Rule } from '../frames/rows.ts';
import { STACK_HALF, STACK_LO } from './check_layout.ts';
import { OUTERMOST } from './live_frames.ts';
import { SAVED_VALUES } from './saved_registers.ts';
import { FP, SP, TABLES } from './target.ts';
import type { SavedRulesReport } from './verdicts.ts';

const { fp, sp, names } = TABLES.registers;

/** Where a row has one of them: in its own register, at a distance from the caller's stack pointer or a register. */
interface Place {
  /** Index in SAVED_VALUES. */
  readonly value: number;
  readonly rule: Rule | undefined;
}

const [JUDGED, WRONG, BELOW] = [1, 2, 4];
const MOST_LISTED = 200;

export class SavedRules {
  readonly #table: FrameTable;
  readonly #places: readonly (readonly Place[])[];
  /** By instruction. */
  readonly #seen: Uint8Array;
  readonly #listed: { insn: number; registers: string[] }[] = [];

  constructor(table: FrameTable, instructions: number) {
    this.#table = table;
    this.#places = table.rows.map(placesOf);
    this.#seen = new Uint8Array(instructions);
  }

  /** At an instruction, interrupted there: `ip` where it is executed. */
  at(insn: number, ip: number, words: Uint32Array, halves: Uint32Array): void {
    const row = this.#table.find(ip);
    if (row < 0) return;
    let found = this.#seen[insn] | JUDGED;
    const registers: string[] = [];
    for (const { value, rule } of this.#places[row]) {
      const at = addressOf(rule, halves);
      const { name, number, low, high } = SAVED_VALUES[value];
      const isRight =
        at === undefined
          ? halves[2 * number] === low && halves[2 * number + 1] === high
          : words[(at - STACK_LO) >>> 2] === low && words[((at - STACK_LO) >>> 2) + 1] === high;
      if (!isRight) found |= WRONG;
      else if (at !== undefined && at < halves[SP]) found |= BELOW;
      else continue;
      registers.push(name);
    }
    const isNews = (found & (WRONG | BELOW) & ~this.#seen[insn]) !== 0;
    this.#seen[insn] = found;
    if (isNews && this.#listed.length < MOST_LISTED) this.#listed.push({ insn, registers });
  }

  report(placeOf: (insn: number) => string): SavedRulesReport {
    let [instructions, wrong, below] = [0, 0, 0];
    for (const found of this.#seen) {
      if (found === 0) continue;
      instructions++;
      if (found & WRONG) wrong++;
      else if (found & BELOW) below++;
    }
    const places = this.#listed.map(({ insn, registers }) => ({ place: placeOf(insn), registers }));
    return { instructions, right: instructions - wrong - below, below, wrong, places };
  }
}

function placesOf({ rules }: FrameRow): Place[] {
  return SAVED_VALUES.flatMap(({ name }, value): Place[] => {
    const rule = rules.get(names.indexOf(name));
    if (rule === undefined || rule.kind === 'same') return [{ value, rule: undefined }];
    if (rule.kind === 'cfa') return rule.deref ? [{ value, rule }] : [];
    const isPlain = rule.kind === 'register' && rule.deref && (rule.register === fp || rule.register === sp);
    return isPlain ? [{ value, rule }] : [];
  });
}

/** Of the word that a rule names; undefined for the register itself. */
function addressOf(rule: Rule | undefined, halves: Uint32Array): number | undefined {
  if (rule === undefined) return undefined;
  if (rule.kind === 'cfa') return OUTERMOST.sp + rule.offset;
  if (rule.kind !== 'register') return undefined;
  const half = rule.register === fp ? FP : SP;
  // A frame pointer that leads elsewhere leads to no value.
  return halves[half + 1] === STACK_HALF ? halves[half] + rule.offset : STACK_LO;
}
