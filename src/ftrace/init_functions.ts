// The init functions of modules whose text has gone: while anything traces, the kernel remembers where they were, and
// /proc/kallsyms shows them behind the symbols of modules, and addresses in them have a name until their module goes. Mirrors ftrace_mod_maps of kernel/trace/ftrace.c.

import type { Addr } from '../guest/addr.ts';
import type { KernelCore } from '../kernel/core.ts';
import type { KernelSymbol, ResolvedSymbol } from '../kernel/kallsyms.ts';
import type { FtraceRec } from './dyn_ftrace.ts';

interface InitFunction extends KernelSymbol {
  readonly module: string;
}

export class InitFunctions {
  readonly #core: KernelCore;
  /** Latest module first, and of each its last function. */
  #functions: readonly InitFunction[] = [];

  constructor(core: KernelCore) {
    this.#core = core;
    core.symbols.nameFormer((addr) => this.#covering(addr));
  }

  /** save_ftrace_mod_rec(), of each site that goes; their symbols are still there. */
  save(module: string, sites: readonly FtraceRec[]): void {
    const saved = sites.flatMap(({ ip }) => {
      const found = this.#core.symbols.lookup(ip);
      return found ? [{ ...found, module }] : [];
    });
    this.#functions = [...saved.reverse(), ...this.#functions];
  }

  /** The module itself goes. */
  forget(module: string): void {
    this.#functions = this.#functions.filter((one) => one.module !== module);
  }

  /** ftrace_mod_address_lookup() */
  #covering(addr: Addr): ResolvedSymbol | undefined {
    const found = this.#functions.find((one) => addr >= one.addr && addr < one.addr + BigInt(one.size));
    return found && { ...found, offset: Number(addr - found.addr) };
  }

  /** As ftrace_mod_get_kallsym() counts them. */
  list(): readonly InitFunction[] {
    return this.#functions;
  }
}
