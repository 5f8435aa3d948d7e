// The kernel, or a module that is loaded, as an object in which functions are looked for by name.

import { lo32 } from '../guest/addr.ts';
import type { Machine } from '../machine/machine.ts';
import type { KernelCode, KernelSymbol } from './kernel_code.ts';

export interface CodeObject {
  /** vmlinux, or a module's name. */
  readonly name: string;
  /** Of a name, ascending: as sympos counts. */
  matches(name: string): readonly KernelSymbol[];
  /** Of names that are this one, a dot, and more. */
  derived(name: string): readonly KernelSymbol[];
  /** How far behind its start a function's fentry site is; undefined: it has none. */
  site(symbol: KernelSymbol): number | undefined;
  isInit(symbol: KernelSymbol): boolean;
}

export function kernelObject(code: KernelCode, maxOffset: number): CodeObject {
  const byName = new Map<string, KernelSymbol[]>();
  const byStem = new Map<string, KernelSymbol[]>();
  const add = (map: Map<string, KernelSymbol[]>, key: string, symbol: KernelSymbol): void => {
    const known = map.get(key);
    if (known) known.push(symbol);
    else map.set(key, [symbol]);
  };
  for (const symbol of code.symbols) {
    add(byName, symbol.name, symbol);
    const dot = symbol.name.indexOf('.');
    if (dot > 0) add(byStem, symbol.name.slice(0, dot), symbol);
  }
  return {
    name: 'vmlinux',
    matches: (name) => byName.get(name) ?? [],
    derived: (name) => byStem.get(name) ?? [],
    site: ({ start }) => siteBehind(start, maxOffset, (at) => code.sites.has(at)),
    isInit: ({ start }) => code.isInit(start),
  };
}

/** @param module one that is loaded */
export function moduleObject(machine: Machine, module: string): CodeObject {
  const { core, ftrace } = machine.inspect;
  const of = (symbols: ReturnType<typeof core.symbols.matches>): KernelSymbol[] =>
    symbols.map(({ name, addr, size, ownSize, type }) => ({
      name,
      start: lo32(addr),
      size: ownSize ?? size,
      type,
    }));
  const sites = new Set(ftrace.records.group(module).map(({ ip }) => lo32(ip)));
  const text = machine.inspect.modules.find(module);
  const isText = ({ type }: KernelSymbol): boolean => /^[tw]$/i.test(type);
  return {
    name: module,
    matches: (name) => of(core.symbols.matches(name, module)).filter(isText),
    derived: (name) => of(core.symbols.derived(name, module)).filter(isText),
    site: ({ start }) => siteBehind(start, core.arch.fentry.maxOffset, (at) => sites.has(at)),
    // What is left of init text when the module is loaded is nothing.
    isInit: ({ start }) =>
      text !== undefined && !text.containsText(core.kernel.constants.MODULES_VADDR | BigInt(start)),
  };
}

function siteBehind(start: number, max: number, has: (at: number) => boolean): number | undefined {
  for (let offset = 0; offset <= max; offset++) if (has(start + offset)) return offset;
  return undefined;
}
