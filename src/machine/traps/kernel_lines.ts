// Where a WARN() or BUG() of the machine's own text stands in the source of the kernel that it is booted on: by that kernel's
// own bug table. Our entry is one of a function; the real function's entries, in the order of their lines, are the same ones.

import type { Table } from '../../arch/module_text.ts';
import type { Addr } from '../../guest/addr.ts';
import type { KernelCore } from '../../kernel/core.ts';
import { bugAddr, readBug } from '../../module/extable.ts';
import { high, type NativeKernel } from '../native/native_kernel.ts';

type Line = { readonly file: string; readonly line: number };

/** @returns undefined where the real kernel has no such function, or not as many entries in it */
export function kernelLine(
  core: KernelCore,
  native: NativeKernel,
  own: readonly Table[],
  pc: Addr,
): Line | undefined {
  const symbol = core.symbols.lookup(pc);
  const range = symbol && rangeOf(native, symbol.name);
  if (!range) return undefined;
  const [from, to] = [pc - BigInt(symbol.offset), pc - BigInt(symbol.offset) + BigInt(symbol.size)];
  const ours = own.flatMap((table) => entriesIn(core, table, from, to));
  const theirs = entriesIn(core, native.bugs, range.from, range.to);
  if (theirs.length !== ours.length) return undefined;
  const { file, line } = theirs[ours.findIndex(({ at }) => at === pc)];
  return { file, line };
}

function entriesIn(core: KernelCore, table: Table, from: Addr, to: Addr): (Line & { readonly at: Addr })[] {
  const { size } = core.kernel.structs.bug_entry;
  const found: (Line & { readonly at: Addr })[] = [];
  for (let entry = table.addr; entry < table.addr + BigInt(table.size); entry += BigInt(size)) {
    const at = bugAddr(core, entry);
    if (at >= from && at < to) found.push({ ...readBug(core, entry), at });
  }
  return found.sort((a, b) => a.line - b.line);
}

/** Of a function that the kernel has once by its name: up to what lies behind it. */
function rangeOf({ symbols }: NativeKernel, name: string): { from: Addr; to: Addr } | undefined {
  const { names, low } = symbols;
  const i = names.indexOf(name);
  if (i < 0 || names.indexOf(name, i + 1) >= 0) return undefined;
  let next = i + 1;
  while (next < low.length && low[next] === low[i]) next++;
  return { from: high(low[i]), to: next < low.length ? high(low[next]) : high(low[i]) + 1n };
}
