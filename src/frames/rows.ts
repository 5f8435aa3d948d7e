// What a frame table says of a place in the code: where the caller's frame is, and what its registers were. One form
// for all formats (SFrame, DWARF), with the registers numbered as DWARF does on the port.
//
// Invariant: a row is complete in itself and never changed; equal rows of a table are one object.

import type { Expression } from './expression.ts';
import { expressionText } from './expression_text.ts';

/** The numbers that DWARF gives to what unwinding needs. */
export interface FrameRegisters {
  readonly sp: number;
  readonly fp: number;
  /** The column of the return address. */
  readonly returnAddress: number;
  /** By number, as reports name them; nothing is kept of registers above. */
  readonly names: readonly string[];
}

/** How a value is found: the value itself, or with `deref` what lies at that address. */
export type Rule =
  | { readonly kind: 'same' }
  | { readonly kind: 'undefined' }
  | { readonly kind: 'cfa'; readonly offset: number; readonly deref: boolean }
  | { readonly kind: 'register'; readonly register: number; readonly offset: number; readonly deref: boolean }
  | { readonly kind: 'expression'; readonly expression: Expression; readonly deref: boolean };

export type CfaRule = Extract<Rule, { readonly kind: 'register' | 'expression' }>;

export interface FrameRow {
  /** The caller's stack pointer after the return. */
  readonly cfa: CfaRule;
  /** By register; what is not in it is as it was, if a callee gives it back. */
  readonly rules: ReadonlyMap<number, Rule>;
  /** Of code that an interrupt or a signal enters: where the caller stands is no return address. */
  readonly signal: boolean;
  /** The column that this table has the return address in. */
  readonly returnAddress: number;
}

export const SAME: Rule = { kind: 'same' };
export const UNDEFINED: Rule = { kind: 'undefined' };

/** A register and a distance, as a CFA is mostly given. */
export const byRegister = (register: number, offset: number, deref = false): CfaRule => ({
  kind: 'register',
  register,
  offset,
  deref,
});
export const atCfa = (offset: number): Rule => ({ kind: 'cfa', offset, deref: true });

/** A row in words, for reports; those of different rows differ. */
export function rowText(row: FrameRow, registers: FrameRegisters): string {
  const { cfa, rules, signal, returnAddress } = row;
  if (rules.get(returnAddress)?.kind === 'undefined') return 'the end of the stack';
  const said = [...rules].sort(([a], [b]) => a - b);
  return [
    `cfa ${ruleText(cfa, registers)}`,
    ...said.map(([register, rule]) => `${nameOf(register, registers)} ${ruleText(rule, registers)}`),
    ...(signal ? ['signal frame'] : []),
    ...(returnAddress === registers.returnAddress ? [] : [`returns by ${nameOf(returnAddress, registers)}`]),
  ].join(', ');
}

const nameOf = (register: number, { names }: FrameRegisters): string =>
  names[register] ?? `register ${register}`;

function ruleText(rule: Rule, registers: FrameRegisters): string {
  switch (rule.kind) {
    case 'same':
      return 'as it was';
    case 'undefined':
      return 'undefined';
    case 'cfa':
      return placed(`cfa${signed(rule.offset)}`, rule.deref);
    case 'register':
      return placed(`${nameOf(rule.register, registers)}${signed(rule.offset)}`, rule.deref);
    case 'expression':
      return placed(`{${expressionText(rule.expression, registers)}}`, rule.deref);
  }
}

const placed = (value: string, deref: boolean): string => (deref ? `(${value})` : value);
const signed = (n: number): string => (n < 0 ? `${n}` : `+${n}`);

/** What a table has for a function, read where it is asked for. */
export interface FunctionFrames {
  /** Index of its section in the object, offset there, and bytes. */
  readonly section: number;
  readonly start: number;
  readonly size: number;
  /** The name of the table's section and where in it the function's description is, for messages. */
  readonly table: string;
  readonly at: number;
  /**
   * Its rows in order, by the offset in the function from where they are in force: undefined from where nothing is
   * said. Ends when `visit` says so. @throws ElfError
   */
  eachRow(visit: (from: number, row: () => FrameRow | undefined) => 'more' | 'enough'): void;
}

/** All of an object's. */
export interface ObjectFrames {
  readonly functions: readonly FunctionFrames[];
  /** What it is, with its version where it has one, and its bytes. */
  readonly format: string;
  readonly bytes: number;
  readonly registers: FrameRegisters;
}
