// The decoded blocks of a machine: made when code is executed for the first time, gone when its text changes.
//
// Invariant: every block is in the list of each page of RAM that its bytes lie in.

import type { Addr } from '../../../guest/addr.ts';
import { PAGE_SIZE } from '../../../guest/memory.ts';
import * as L from '../core/layout.ts';
import type { IsTrampoline } from './translate/instruction.ts';
import type { Observed } from './translate/observed.ts';
import { MOST_OPERATIONS, Translator } from './translate/translator.ts';
import type { CoreExports } from './wasm.ts';

/** No second page. */
const NO_PAGE = 0xffffffff;
const ROOM = L.BLOCK_HEADER + MOST_OPERATIONS * L.OP_SIZE;

export class BlockCache {
  readonly #core: CoreExports;
  readonly #view: DataView;
  readonly #bytes: Uint8Array;
  readonly #ram: number;
  readonly #pageBlocks: number;
  readonly #ramPages: number;
  readonly #translator: Translator;
  readonly #refused = new Set<Addr>();
  #next = L.ARENA;

  constructor(
    core: CoreExports,
    buffer: ArrayBuffer,
    pageBlocks: number,
    ramPages: number,
    ram: number,
    hasXsave: boolean,
  ) {
    this.#core = core;
    this.#view = new DataView(buffer);
    this.#bytes = new Uint8Array(buffer);
    this.#ram = ram;
    this.#pageBlocks = pageBlocks;
    this.#ramPages = ramPages;
    this.#translator = new Translator(buffer, hasXsave);
  }

  stopBefore(addr: Addr): void {
    if (this.#refused.has(addr)) return;
    this.#refused.add(addr);
    this.reset();
  }
  stopNowhere(): void {
    if (this.#refused.size === 0) return;
    this.#refused.clear();
    this.reset();
  }

  /** The kernel's calls and returns are noted from now on. */
  note(isTrampoline: IsTrampoline): void {
    this.#translator.isTrampoline = isTrampoline;
    this.reset();
  }

  /** What is observed of code from now on. @param anew blocks that exist do not have it */
  observe(observed: Observed | undefined, anew: boolean): void {
    this.#translator.observed = observed;
    if (anew) this.reset();
  }

  /** Forgets every block. */
  reset(): void {
    if (this.#next === L.ARENA) return;
    this.#bytes.fill(0, this.#pageBlocks, this.#pageBlocks + 4 * this.#ramPages);
    this.#core.forgetLookups();
    // A frame that was noted may know an operation of theirs: it finds none.
    this.#bytes.fill(0, L.ARENA, this.#next);
    this.#next = L.ARENA;
  }

  /** Bytes of RAM changed, or may not be executed any more. */
  invalidate(ram: number, size: number): void {
    for (let page = ram >>> L.PAGE_BITS; page << L.PAGE_BITS < ram + size; page++) {
      if (this.#view.getUint32(this.#pageBlocks + 4 * page, true) !== 0) this.#core.invalidatePage(page);
    }
  }

  /** Decodes the block at an address. @returns false when there is nothing to execute: the core has the page fault */
  decode(rip: Addr, user: boolean): boolean {
    const at = this.#core.fetch(rip) >>> 0;
    if (at === 0) return false;
    if (this.#next + ROOM > L.ARENA_END) this.reset();
    const block = this.#next;
    const toPageEnd = PAGE_SIZE - (at & (PAGE_SIZE - 1));
    let second = NO_PAGE;
    const beyond = (): Uint8Array | undefined => {
      const more = this.#core.fetch(BigInt.asUintN(64, rip + BigInt(toPageEnd))) >>> 0;
      if (more === 0) return undefined;
      second = this.#pageOf(more);
      return this.#bytes.subarray(more, more + PAGE_SIZE);
    };
    const bytes = this.#bytes.subarray(at, at + toPageEnd);
    const done = this.#translator.translate(block, rip, bytes, beyond, user, this.#refused);
    if (done === 'missing') return false;
    this.#next = done.end;
    this.#link(block, this.#pageOf(at), done.crosses ? second : NO_PAGE);
    this.#core.addBlock(block);
    return true;
  }

  #pageOf(at: number): number {
    return (at - this.#ram) >>> L.PAGE_BITS;
  }

  #link(block: number, page: number, second: number): void {
    const view = this.#view;
    const head = this.#pageBlocks + 4 * page;
    view.setUint32(block + L.BLOCK_PAGE, page, true);
    view.setUint32(block + L.BLOCK_NEXT, view.getUint32(head, true), true);
    view.setUint32(head, block, true);
    view.setUint32(block + L.BLOCK_PAGE_SECOND, second, true);
    view.setUint32(block + L.BLOCK_NEXT_SECOND, 0, true);
    if (second === NO_PAGE) return;
    const other = this.#pageBlocks + 4 * second;
    view.setUint32(block + L.BLOCK_NEXT_SECOND, view.getUint32(other, true), true);
    view.setUint32(other, block, true);
  }
}
