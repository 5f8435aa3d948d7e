// The text of a module as it lies in memory when its init has not run yet: every branch has its destination, and init text is
// still there.

import { type Calls, readCalls, type TextRun } from '../callgraph/calls.ts';
import type { GraphPart } from '../callgraph/graph.ts';
import { lo32 } from '../guest/addr.ts';
import type { Machine } from '../machine/machine.ts';
import { partOf } from './kernel_code.ts';

interface Named {
  readonly name: string;
  readonly start: number;
}

export class ModuleCode {
  readonly name: string;
  readonly core: TextRun;
  readonly init: TextRun;
  readonly #symbols: readonly Named[];
  readonly #read: (run: TextRun, starts: readonly number[]) => Calls;

  /** @throws Error for a module that is not there */
  constructor(machine: Machine, name: string) {
    const { core, modules } = machine.inspect;
    const module = modules.find(name);
    const { code } = core.arch;
    if (!module || !code) throw new Error(`the text of ${name} cannot be looked at`);
    const run = (region: 'core' | 'init'): TextRun => {
      const [base, size] = [module.base(region), module.textSize(region)];
      return { start: lo32(base), bytes: size > 0 ? core.mem.readBytes(base, size) : new Uint8Array() };
    };
    this.name = name;
    this.core = run('core');
    this.init = run('init');
    const symbols: Named[] = [];
    for (const symbol of core.symbols.ofModule(name))
      if (/^[tw]$/i.test(symbol.type)) symbols.push({ name: symbol.name, start: lo32(symbol.addr) });
    this.#symbols = symbols.sort((a, b) => a.start - b.start);
    this.#read = (text, starts) => readCalls(code, [text], starts);
  }

  part(region: 'core' | 'init'): GraphPart {
    const { start, bytes } = this[region];
    const own = this.#symbols.filter(
      (symbol) => symbol.start >= start && symbol.start < start + bytes.length,
    );
    const starts = [...new Set(own.map((symbol) => symbol.start))];
    return partOf(this.name, this.#read(this[region], starts), own);
  }

  /** Low half of where a function of it is. */
  find(name: string): number | undefined {
    return this.#symbols.find((symbol) => symbol.name === name)?.start;
  }
}
