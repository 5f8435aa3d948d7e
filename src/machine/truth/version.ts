// A version of a function as text: where a task that runs it can stand. Mirrors nothing of the kernel's, to which a
// function is one range (old_func and old_size, new_func and new_size of struct klp_func).

import { type Addr, lo32 } from '../../guest/addr.ts';
import type { KernelCore } from '../../kernel/core.ts';
import type { KlpFunc } from '../../livepatch/structs.ts';
import { partsOf } from './function_parts.ts';

/** Low halves of addresses. */
export interface Version {
  /** old_name, whichever version it is. */
  readonly func: string;
  /** Where the original function begins. */
  readonly entry: number;
  /** Its own name. */
  readonly name: string;
  readonly start: number;
  /** Its own range first, then its parts. */
  readonly pieces: readonly Piece[];
}

/** Text of a version in one place; `end` is behind its last byte. */
export interface Piece {
  readonly version: Version;
  readonly name: string;
  readonly start: number;
  readonly end: number;
  /** Split off by the compiler: outside of the range that the kernel's stack check goes by. */
  readonly part: boolean;
}

export function originalVersion(core: KernelCore, func: KlpFunc): Version {
  const name = func.oldName ?? '?';
  return makeVersion(core, func, name, func.oldFunc, func.oldSize);
}

/** The version that a klp_func brings. */
export function newVersion(core: KernelCore, func: KlpFunc): Version {
  const name = core.symbols.lookup(func.newFunc)?.name ?? '?';
  return makeVersion(core, func, name, func.newFunc, func.newSize);
}

function makeVersion(core: KernelCore, func: KlpFunc, name: string, addr: Addr, size: number): Version {
  const start = lo32(addr);
  const pieces: Piece[] = [];
  const version = { func: func.oldName ?? '?', entry: lo32(func.oldFunc), name, start, pieces };
  pieces.push({ version, name, start, end: start + size, part: false });
  for (const part of partsOf(core, addr)) {
    const from = lo32(part.addr);
    pieces.push({ version, name: part.name, start: from, end: from + part.size, part: true });
  }
  return version;
}

export function pieceAt(pieces: readonly Piece[], ip: number): Piece | undefined {
  return pieces.find(({ start, end }) => ip >= start && ip < end);
}
