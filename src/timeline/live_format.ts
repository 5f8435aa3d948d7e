// What a page beside a live machine hears, one JSON object a message, and what it may ask.

import type { Pictured } from './page_data.ts';
import type { PageData } from './page_format.ts';

export type LiveMessage =
  /** A machine begins: what was drawn of another one is over. */
  | { readonly begin: LiveBegin }
  /** What has happened since the message before. */
  | { readonly happened: LiveHappened }
  | { readonly state: LiveState }
  | { readonly said: LiveSaid };

interface LiveBegin extends Pick<PageData, 'title' | 'machine' | 'cpus'> {
  readonly tasks: readonly { readonly pid: number; readonly comm: string }[];
}

export interface LiveHappened {
  /** As trace lines have them: bytes are text. */
  readonly events: readonly unknown[];
  readonly slept: Pictured['slept'];
  readonly sites: PageData['sites'];
}

export interface LiveState {
  /** Virtual ns. */
  readonly now: number;
  /** Executed since boot, by all CPUs. */
  readonly instructions: number;
  /** Time passes by itself; nothing is executed; a command is carried out; a moment that is over is gone back to. */
  readonly mode: 'playing' | 'paused' | 'command' | 'going back';
  /** Virtual time that passes in a second, in seconds. */
  readonly speed: number;
  /** Where each CPU stands; while nothing is executed. */
  readonly cpus: readonly LiveCpu[];
  /** Why the machine cannot go on. */
  readonly failure?: string;
}

interface LiveCpu {
  readonly task: string;
  readonly at: string;
  /** The instruction that it executes next. */
  readonly insn: string;
  /** It executes the next instruction of all. */
  readonly isNext: boolean;
}

export interface LiveSaid {
  /** What was typed; undefined for what nobody typed. */
  readonly line?: string;
  readonly stdout: string;
  readonly stderr: string;
  readonly status: number;
  /** What was said before is to be taken away. */
  readonly clear?: boolean;
}
