// The program of one function's call frame information: which rules are in force from where. DWARF 5, 6.4.2.
//
// Invariant: rules of a state are never changed, so that a state that is remembered costs nothing; a program goes
// forward only, and not out of its function.

import { readExpression } from './expression.ts';
import {
  atCfa,
  byRegister,
  type CfaRule,
  type FrameRegisters,
  type FrameRow,
  type FunctionFrames,
  type Rule,
  SAME,
  UNDEFINED,
} from './rows.ts';
import { type RelocatedSection, SectionReader } from './section_reader.ts';

interface Program {
  readonly at: number;
  readonly end: number;
}

/** How a CIE has its functions read. */
interface CommonForm {
  readonly codeAlign: number;
  readonly dataAlign: number;
  readonly returnAddress: number;
  /** DW_EH_PE_* of addresses. */
  readonly encoding: number;
  readonly signal: boolean;
  /** Whether entries say how long their augmentation is. */
  readonly sized: boolean;
}

/** What a CIE says for its functions. */
export interface CommonEntry extends CommonForm {
  /** What is true at their start. */
  readonly initial: State;
}

/** By register. */
type Rules = readonly (Rule | undefined)[];

interface State {
  readonly cfa: CfaRule | undefined;
  readonly rules: Rules;
}

const NOTHING: State = { cfa: undefined, rules: [] };
/** States that are remembered at once. */
const MOST_REMEMBERED = 256;
/** From one instruction of an object to another; farther is no function. */
const MOST_OFFSET = 0x7fffffff;

interface Place {
  readonly section: number;
  readonly start: number;
  readonly size: number;
  readonly at: number;
}

type Visit = (from: number, row: () => FrameRow | undefined) => 'more' | 'enough';

export class DwarfFunction implements FunctionFrames {
  readonly section: number;
  readonly start: number;
  readonly size: number;
  readonly table: string;
  readonly at: number;
  readonly #from: RelocatedSection;
  readonly #common: CommonEntry;
  readonly #program: Program;
  readonly #registers: FrameRegisters;

  constructor(
    from: RelocatedSection,
    place: Place,
    common: CommonEntry,
    program: Program,
    registers: FrameRegisters,
  ) {
    this.section = place.section;
    this.start = place.start;
    this.size = place.size;
    this.table = from.section.name;
    this.at = place.at;
    this.#from = from;
    this.#common = common;
    this.#program = program;
    this.#registers = registers;
  }

  eachRow(visit: Visit): void {
    new Interpreter(this.#from, this.#common, this.#registers, this).run(this.#program, visit);
  }
}

/** What the program of a CIE comes to. @throws ElfError */
export function initialState(
  from: RelocatedSection,
  common: CommonForm,
  program: Program,
  registers: FrameRegisters,
): State {
  return new Interpreter(from, { ...common, initial: NOTHING }, registers).prepare(program);
}

class Interpreter {
  readonly #from: RelocatedSection;
  readonly #common: CommonEntry;
  /** undefined in a CIE. */
  readonly #function: DwarfFunction | undefined;
  readonly #registers: FrameRegisters;
  readonly #remembered: State[] = [];
  #state: State;
  #location = 0;
  /** The state that was last told of. */
  #told: State | undefined;

  constructor(from: RelocatedSection, common: CommonEntry, registers: FrameRegisters, func?: DwarfFunction) {
    this.#from = from;
    this.#common = common;
    this.#state = common.initial;
    this.#function = func;
    this.#registers = registers;
  }

  prepare(program: Program): State {
    this.#execute(program, () => 'more');
    return this.#state;
  }

  run(program: Program, visit: Visit): void {
    if (!this.#execute(program, visit)) return;
    if (this.#location < this.func.size) this.#tell(this.#state, this.#location, visit);
  }

  /** False where it was ended. */
  #execute({ at, end }: Program, visit: Visit): boolean {
    const reader = new SectionReader(this.#from, at, end);
    const step = new Step(this, reader);
    while (!reader.done) {
      const start = reader.at;
      const byte = reader.u8();
      const high = byte & 0xc0;
      const code = high === 0 ? byte : high;
      const instruction = INSTRUCTIONS[code];
      if (!instruction) throw reader.error(`call frame instruction 0x${byte.toString(16)} is unknown`, start);
      const before = this.#location;
      const from = this.#state;
      const next = instruction(step.begin(start), byte & 0x3f);
      if (typeof next === 'number') {
        this.#advance(next, reader, start);
        if (this.#location > before && !this.#tell(from, before, visit)) return false;
      } else if (next) this.#state = next;
    }
    return true;
  }

  #advance(to: number, reader: SectionReader, at: number): void {
    if (!this.#function) throw reader.error('CIE that goes to another place', at);
    const { size } = this.#function;
    if (to < this.#location || to > size) {
      const place = `+0x${Math.abs(to).toString(16)}`;
      throw reader.error(
        `row for ${to < 0 ? 'a place before its function' : place} after one for +0x${this.#location.toString(16)}, of ${size} bytes`,
        at,
      );
    }
    this.#location = to;
  }

  #tell(state: State, from: number, visit: Visit): boolean {
    if (state === this.#told) return true;
    this.#told = state;
    return visit(from, () => this.#row(state)) === 'more';
  }

  #row({ cfa, rules }: State): FrameRow | undefined {
    const { signal, returnAddress } = this.#common;
    if (!cfa) return undefined;
    const said = new Map<number, Rule>();
    for (let register = 0; register < rules.length; register++) {
      const rule = rules[register];
      if (rule) said.set(register, rule);
    }
    return { cfa, rules: said, signal, returnAddress };
  }

  get state(): State {
    return this.#state;
  }
  get location(): number {
    return this.#location;
  }
  get common(): CommonEntry {
    return this.#common;
  }
  get func(): DwarfFunction {
    return this.#function as DwarfFunction;
  }
  get from(): RelocatedSection {
    return this.#from;
  }
  /** Nothing is kept of registers that no frame is found by. */
  isKept(register: number): boolean {
    return register < this.#registers.names.length;
  }
  initialRule(register: number): Rule | undefined {
    return this.#common.initial.rules[register];
  }
  get inCommon(): boolean {
    return this.#function === undefined;
  }

  remember(step: Step): void {
    if (this.#remembered.length >= MOST_REMEMBERED) throw step.error('too many states are remembered');
    this.#remembered.push(this.#state);
  }
  restore(step: Step): State {
    const state = this.#remembered.pop();
    if (!state) throw step.error('no state is remembered');
    return state;
  }
}

/** One instruction after the other: its operands, and what it makes of the state. */
class Step {
  readonly reader: SectionReader;
  readonly #of: Interpreter;
  #at = 0;

  constructor(of: Interpreter, reader: SectionReader) {
    this.#of = of;
    this.reader = reader;
  }

  /** The next one, at that place. */
  begin(at: number): this {
    this.#at = at;
    return this;
  }

  error(reason: string): Error {
    return this.reader.error(reason, this.#at);
  }

  /** Where a row goes on that is so many units further. */
  further(units: number): number {
    return this.#of.location + units * this.#of.common.codeAlign;
  }
  /** DW_CFA_set_loc */
  place(): number {
    if (this.#of.inCommon) throw this.error('CIE that goes to another place');
    const { encoding } = this.#of.common;
    const isRelative = (encoding & 0x70) === 0x10;
    const width = [2, 10].includes(encoding & 0xf) ? 2 : [3, 11].includes(encoding & 0xf) ? 4 : 8;
    const { section, offset } = this.#of.from.target(
      this.reader.take(width),
      width,
      isRelative,
      'place of a row',
    );
    if (section.index !== this.#of.func.section) throw this.error('row for a place in another section');
    return offset - this.#of.func.start;
  }

  factored(value: number): number {
    return this.offset(value * this.#of.common.dataAlign);
  }
  offset(value: number): number {
    if (Math.abs(value) > MOST_OFFSET) throw this.error(`an offset of ${value}`);
    return value;
  }
  expression(): Extract<Rule, { kind: 'expression' }>['expression'] {
    const size = this.reader.uleb();
    const { at } = this.reader;
    return readExpression(this.reader.block(size), (reason, offset) =>
      this.reader.error(reason, at + offset),
    );
  }

  rule(register: number, rule: Rule | undefined): State {
    const { state } = this.#of;
    if (!this.#of.isKept(register)) return state;
    const rules = state.rules.slice();
    rules[register] = rule;
    return { cfa: state.cfa, rules };
  }
  cfa(cfa: CfaRule): State {
    if (cfa.kind === 'register' && !this.#of.isKept(cfa.register)) {
      throw this.error(`CFA by register ${cfa.register}`);
    }
    return { cfa, rules: this.#of.state.rules };
  }
  /** The CFA as it is, of which one part changes. */
  plainCfa(): { register: number; offset: number } {
    const { cfa } = this.#of.state;
    if (cfa?.kind !== 'register') throw this.error('part of a CFA that is given by no register');
    return cfa;
  }
  initial(register: number): State {
    if (this.#of.inCommon) throw this.error('CIE that goes back to its own rules');
    return this.rule(register, this.#of.initialRule(register));
  }
  remember(): undefined {
    this.#of.remember(this);
  }
  restore(): State {
    return this.#of.restore(this);
  }
}

/** What comes next: another state, another place, or neither. */
type Instruction = (step: Step, low: number) => State | number | undefined;

/** A rule for a register that the instruction names first. */
const ruled =
  (rule: (step: Step) => Rule): Instruction =>
  (step) => {
    const register = step.reader.uleb();
    return step.rule(register, rule(step));
  };

function byNumber(list: readonly (readonly [code: number, instruction: Instruction])[]) {
  const found: (Instruction | undefined)[] = Array(Math.max(...list.map(([code]) => code)) + 1).fill(
    undefined,
  );
  for (const [code, instruction] of list) found[code] = instruction;
  return found;
}

/** DW_CFA_*, by number; those with an operand in their low bits by the high ones. */
const INSTRUCTIONS: readonly (Instruction | undefined)[] = byNumber([
  // advance_loc, offset, restore
  [0x40, (step, low) => step.further(low)],
  [0x80, (step, low) => step.rule(low, atCfa(step.factored(step.reader.uleb())))],
  [0xc0, (step, low) => step.initial(low)],
  // nop, set_loc, advance_loc1, advance_loc2, advance_loc4
  [0x00, () => undefined],
  [0x01, (step) => step.place()],
  [0x02, (step) => step.further(step.reader.u8())],
  [0x03, (step) => step.further(step.reader.u16())],
  [0x04, (step) => step.further(step.reader.u32())],
  // offset_extended, restore_extended, undefined, same_value, register
  [0x05, ruled((step) => atCfa(step.factored(step.reader.uleb())))],
  [0x06, (step) => step.initial(step.reader.uleb())],
  [0x07, ruled(() => UNDEFINED)],
  [0x08, ruled(() => SAME)],
  [0x09, ruled((step) => byRegister(step.reader.uleb(), 0))],
  // remember_state, restore_state
  [0x0a, (step) => step.remember()],
  [0x0b, (step) => step.restore()],
  // def_cfa, def_cfa_register, def_cfa_offset, def_cfa_expression
  [
    0x0c,
    (step) => {
      const register = step.reader.uleb();
      return step.cfa(byRegister(register, step.offset(step.reader.uleb())));
    },
  ],
  [0x0d, (step) => step.cfa(byRegister(step.reader.uleb(), step.plainCfa().offset))],
  [0x0e, (step) => step.cfa(byRegister(step.plainCfa().register, step.offset(step.reader.uleb())))],
  [0x0f, (step) => step.cfa({ kind: 'expression', expression: step.expression(), deref: false })],
  // expression, offset_extended_sf
  [0x10, ruled((step) => ({ kind: 'expression', expression: step.expression(), deref: true }))],
  [0x11, ruled((step) => atCfa(step.factored(step.reader.sleb())))],
  // def_cfa_sf, def_cfa_offset_sf
  [
    0x12,
    (step) => {
      const register = step.reader.uleb();
      return step.cfa(byRegister(register, step.factored(step.reader.sleb())));
    },
  ],
  [0x13, (step) => step.cfa(byRegister(step.plainCfa().register, step.factored(step.reader.sleb())))],
  // val_offset, val_offset_sf, val_expression
  [0x14, ruled((step) => ({ ...atCfa(step.factored(step.reader.uleb())), deref: false }) as Rule)],
  [0x15, ruled((step) => ({ ...atCfa(step.factored(step.reader.sleb())), deref: false }) as Rule)],
  [0x16, ruled((step) => ({ kind: 'expression', expression: step.expression(), deref: false }))],
  // GNU_args_size: of exceptions alone. GNU_negative_offset_extended
  [0x2e, (step) => void step.reader.uleb()],
  [0x2f, ruled((step) => atCfa(step.factored(-step.reader.uleb())))],
]);
