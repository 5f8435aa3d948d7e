// Where a WARN() or BUG() of the machine's own text stands in the source of the kernel that it is booted on: by that kernel's
// own bug table. Our entry is one of a function; the real function's entries of its kind, in the order of their lines, are the
// same ones.

import type { Table } from '../../arch/module_text.ts';
import type { Addr } from '../../guest/addr.ts';
import type { KernelCore } from '../../kernel/core.ts';
import { bugAddr, readBug } from '../../module/extable.ts';
import { high, type NativeKernel } from '../native/native_kernel.ts';

interface Line {
  readonly file: string;
  readonly line: number;
}

interface Entry extends Line {
  readonly at: Addr;
  /** A BUG(), a WARN_ON(), a WARN(). */
  readonly kind: string;
}

/** include/asm-generic/bug.h of 6.19: the message has arguments. */
export const BUGFLAG_ARGS = 1 << 4;

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
  const all = own.flatMap((table) => entriesIn(core, table, from, to));
  const kind = all.find(({ at }) => at === pc)?.kind;
  const ours = all.filter((entry) => entry.kind === kind);
  const theirs = entriesIn(core, native.bugs, range.from, range.to).filter((entry) => entry.kind === kind);
  if (theirs.length !== ours.length) return undefined;
  const { file, line } = theirs[ours.findIndex(({ at }) => at === pc)];
  return { file, line };
}

function entriesIn(core: KernelCore, table: Table, from: Addr, to: Addr): Entry[] {
  const { size } = core.kernel.structs.bug_entry;
  const { BUGFLAG_WARNING, BUGFLAG_NO_CUT_HERE } = core.kernel.constants;
  const kindOf = (flags: number): string => {
    if ((flags & BUGFLAG_WARNING) === 0) return 'BUG()';
    return flags & (BUGFLAG_NO_CUT_HERE | BUGFLAG_ARGS) ? 'WARN()' : 'WARN_ON()';
  };
  const found: Entry[] = [];
  for (let entry = table.addr; entry < table.addr + BigInt(table.size); entry += BigInt(size)) {
    const at = bugAddr(core, entry);
    if (at < from || at >= to) continue;
    const { file, line, flags } = readBug(core, entry);
    found.push({ file, line, kind: kindOf(flags), at });
  }
  return found.sort((a, b) => a.line - b.line);
}

/** Of a function that the kernel has once by its name: up to what lies behind it. */
function rangeOf({ symbols }: NativeKernel, name: string): { from: Addr; to: Addr } | undefined {
  const { names, low } = symbols;
  const [i, another] = names.numbers(name);
  if (i === undefined || another !== undefined) return undefined;
  let next = i + 1;
  while (next < low.length && low[next] === low[i]) next++;
  return { from: high(low[i]), to: next < low.length ? high(low[next]) : high(low[i]) + 1n };
}
