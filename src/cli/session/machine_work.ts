// What a machine in a process of its own is asked, and what it answers.

import type { Result } from '../../shell/result.ts';

/** Text is one character a byte, as everywhere in the shell. */
export type Work =
  /** @param schedule what is done to the order of events from now on, until the command ends */
  | {
      readonly line: string;
      readonly schedule?: string;
      /** It is a process of its own among others: its working directory is / at first, and ends with it. */
      readonly alone?: boolean;
    }
  /** @param put a file that the command finds in the guest while it runs; its bytes are in base64. */
  | {
      readonly words: readonly string[];
      readonly put?: { readonly bytes: string; readonly to: string };
      readonly schedule?: string;
    }
  /** Continuations of the last word of a line. */
  | { readonly complete: string };

export interface Reply extends Result {
  /** The machine cannot go on: why. */
  readonly failure?: string;
  /** The command was `exit`, with this. */
  readonly exited?: number;
  /** The person's screen is to be cleared. */
  readonly clear?: boolean;
  /** Of the machine (virtual ns). */
  readonly now?: number;
  readonly completions?: readonly [readonly string[], string];
}

/** From the process that asks. */
export type ToMachine =
  | { readonly boot: import('../shell/options.ts').ShellMachineOptions }
  | { readonly id: number; readonly work: Work }
  /** The request that is to be ended. */
  | { readonly interrupt: number }
  /** Of a debugger: it comes, says something (one character a byte), is gone. */
  | { readonly debugger: 'comes' | 'is gone' }
  | { readonly said: string };

/** From the machine's process. */
export type FromMachine =
  | { readonly booted: readonly string[]; readonly now: number }
  /** @param usage it is the user's mistake */
  | { readonly notBooted: string; readonly usage: boolean }
  | { readonly id: number; readonly reply: Reply }
  | { readonly died: string }
  /** To the debugger that came: why it cannot debug, where it cannot. */
  | { readonly debugged: true; readonly refused?: string }
  | { readonly answered: string }
  /** It has left. */
  | { readonly left: true };
