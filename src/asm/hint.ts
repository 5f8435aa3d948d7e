// What the ORC tables are told in assembly: UNWIND_HINT_* and their like, as all ports read them.

export type HintKind =
  | 'empty'
  | 'entry'
  | 'regs'
  | 'regs_partial'
  | 'func'
  | 'save'
  | 'restore'
  | 'undefined';

export interface Hint {
  kind: HintKind;
  base: string;
  offset: number;
}
