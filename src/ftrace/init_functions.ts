// The init functions of modules whose text has gone: while anything traces, the kernel remembers where they were, and
// /proc/kallsyms shows them behind the symbols of modules. Mirrors ftrace_mod_maps of kernel/trace/ftrace.c.

import type { Addr } from '../guest/addr.ts';
import type { KernelCore } from '../kernel/core.ts';
import type { FtraceRec } from './dyn_ftrace.ts';

interface InitFunction {
  readonly name: string;
  readonly addr: Addr;
  readonly module: string;
}

export class InitFunctions {
  readonly #core: KernelCore;
  /** Latest module first, and of each its last function. */
  #functions: readonly InitFunction[] = [];

  constructor(core: KernelCore) {
    this.#core = core;
  }

  /** save_ftrace_mod_rec(), of each site that goes; their symbols are still there. */
  save(module: string, sites: readonly FtraceRec[]): void {
    const saved = sites.flatMap(({ ip }) => {
      const found = this.#core.symbols.lookup(ip);
      return found ? [{ name: found.name, addr: found.addr, module }] : [];
    });
    this.#functions = [...saved.reverse(), ...this.#functions];
  }

  /** The module itself goes. */
  forget(module: string): void {
    this.#functions = this.#functions.filter((one) => one.module !== module);
  }

  /** As ftrace_mod_get_kallsym() counts them. */
  list(): readonly InitFunction[] {
    return this.#functions;
  }
}
