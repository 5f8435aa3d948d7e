// A machine in the hands of a debugger: it executes when it is told to, up to an instruction, and stands still in between.

import type { Machine } from '../machine/machine.ts';
import type { RunReport } from '../scenario/report.ts';
import type { TextWrites } from './text_writes.ts';

export interface Debuggee {
  readonly machine: Machine;
  /** Since its boot; undefined where nobody has noted them. */
  readonly textWrites?: TextWrites;
  /** Of a scenario that is over. */
  readonly report: RunReport | undefined;
  /** Why nothing more is to be executed. */
  readonly over: string | undefined;
  /**
   * Executes until so many instructions have been executed since boot, executor.stopAt is reached, interrupt() is called
   * or all is over.
   */
  go(to: number): Promise<void>;
  /**
   * Of a machine that others have execute: they do so, until it stands still by executor.stopAt or interrupt(), or all is
   * over. undefined: it goes on as far as it is told to, and no further.
   */
  letGo?(): Promise<void>;
  /** A debugger has written to it. */
  changed?(): void;
  /** It is to stop as soon as it can. */
  interrupt(): void;
  close(): void;
}

/** Where a machine is: instructions executed since boot. */
export const positionOf = ({ machine }: Pick<Debuggee, 'machine'>): number =>
  machine.inspect.executor.instructions;
