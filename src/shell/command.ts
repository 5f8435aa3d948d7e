// A command of the shell: one row of a table (commands/index.ts).

import type { Guest } from './guest.ts';
import type { ModuleStore } from './module_store.ts';
import type { Result } from './result.ts';

/** Of a machine that the shell has had execute since its boot. */
export interface Past {
  /**
   * The last moment before another at which something was so.
   * @param from undefined: now @returns what is to be told, or why it cannot be
   */
  back(
    what: string,
    from: string | undefined,
    json: boolean,
  ): Promise<{ readonly text: string; readonly found: boolean } | { readonly refused: string }>;
}

/** What commands work on. One for a shell's whole life. */
export interface ShellContext {
  readonly guest: Guest;
  readonly modules: ModuleStore;
  /** Records of the kernel log that `dmesg -C` has taken away. */
  dmesgFrom: number;
  /** What the shell puts in front of its own errors: `klpemu: ` or `klpemu: line 3: `. */
  self: string;
  readonly commands: ReadonlyMap<string, Command>;
  /** undefined: nobody has kept what was done. */
  readonly past: Past | undefined;
}

export interface Invocation {
  /** Words after the command's name. */
  readonly args: readonly string[];
  /** What stands left of `|`; undefined where nothing does. */
  readonly stdin: string | undefined;
  readonly shell: ShellContext;
}

export interface Command {
  readonly name: string;
  readonly usage: string;
  /** One line for help. */
  readonly summary: string;
  /** What its arguments are, for completion. */
  readonly completes?:
    | 'modules'
    | 'loaded modules'
    | 'bundles'
    | 'paths'
    | 'symbols'
    | 'tasks'
    | 'sysctls'
    | 'commands';
  run(invocation: Invocation): Result | Promise<Result>;
}
