// What the host writes to watched memory: found by comparison, for it writes guest memory directly.
//
// Invariant: only what lies at one place in RAM, whichever context executes: user stacks do not.

import type { Addr } from '../../../guest/addr.ts';
import { PAGE_SIZE } from '../../../guest/memory.ts';
import type { Hit, WatchedRange } from '../../../guest/observer.ts';
import * as L from '../core/layout.ts';
import type { CoreExports } from './wasm.ts';

const KERNEL_HALF = 1n << 63n;
const UNIT = 8;

/** A part of a watched range in one page. */
interface Piece {
  readonly addr: Addr;
  readonly bytes: Uint8Array;
  readonly seen: Uint8Array;
}

export class HostWrites {
  readonly #core: CoreExports;
  readonly #view: DataView;
  #pieces: readonly Piece[] = [];
  #found: Hit[] = [];

  constructor(core: CoreExports, view: DataView) {
    this.#core = core;
    this.#view = view;
  }

  watch(ranges: readonly WatchedRange[]): void {
    this.#found = [];
    this.#pieces = ranges.filter(({ access }) => access !== 'read').flatMap((range) => this.#piecesOf(range));
  }

  #piecesOf({ addr, size, physical }: WatchedRange): Piece[] {
    if (!physical && addr < KERNEL_HALF) return [];
    const pieces: Piece[] = [];
    for (let done = 0; done < size; ) {
      const at = addr + BigInt(done);
      const inPage = Math.min(size - done, PAGE_SIZE - Number(at % BigInt(PAGE_SIZE)));
      const ram = physical ? Number(at) : this.#core.ramOf(at) >>> 0;
      if (ram !== 0xffffffff) {
        const start = this.#view.getUint32(L.RAM, true) + ram;
        const bytes = new Uint8Array(this.#view.buffer, start, inPage);
        pieces.push({ addr: at, bytes, seen: bytes.slice() });
      }
      done += inPage;
    }
    return pieces;
  }

  /** What memory holds now is known. */
  look(): void {
    for (const { bytes, seen } of this.#pieces) seen.set(bytes);
  }

  /** Finds what changed since. */
  find(): void {
    for (const piece of this.#pieces) this.#found.push(...changesOf(piece));
    this.look();
  }
  /** What was found, by units of 8 bytes of the address. */
  take(): Hit[] {
    this.find();
    const found = this.#found;
    this.#found = [];
    return found;
  }
}

function changesOf({ addr, bytes, seen }: Piece): Hit[] {
  const hits: Hit[] = [];
  let from = 0;
  while (from < bytes.length) {
    const to = Math.min(bytes.length, from + UNIT - Number((addr + BigInt(from)) % BigInt(UNIT)));
    const [before, after] = [numberOf(seen, from, to), numberOf(bytes, from, to)];
    if (before !== after)
      hits.push({ addr: addr + BigInt(from), size: to - from, access: 'write', before, after, by: 'host' });
    from = to;
  }
  return hits;
}

function numberOf(bytes: Uint8Array, from: number, to: number): bigint {
  let number = 0n;
  for (let i = to - 1; i >= from; i--) number = (number << 8n) | BigInt(bytes[i]);
  return number;
}
