// What of the module area the engine has mapped: pieces of one protection, mapped when they are touched.
//
// The engine pays for each mapping with the number of those that it has, so that they are few, whatever is
// loaded: the oldest go when there are too many. What is there and how it may be accessed is known here, and a
// change of it is a note until the next touch.
//
// Invariant: what the engine has mapped has the protection that is noted; of a page that is not noted it has nothing.

import { type Addr, hi32, lo32, MODULES_VADDR, TEXT_HI } from '../../../guest/addr.ts';
import { PAGE_SIZE, PROT_EXEC, PROT_READ, PROT_WRITE } from '../../../guest/memory.ts';

const FIRST_PAGE = lo32(MODULES_VADDR) / PAGE_SIZE;
const PAGES = 2 ** 32 / PAGE_SIZE - FIRST_PAGE;
/** Pieces that stay mapped from one run to the next. */
const KEPT = 64;
/** Bit of ours: the page is there, whatever its protection. */
const THERE = 0x80;

const NEEDED = { read: PROT_READ, write: PROT_WRITE, fetch: PROT_EXEC } as const;

interface Piece {
  readonly first: number;
  readonly end: number;
  readonly prot: number;
}

/** The engine's side of it. */
interface PieceMapper {
  mapPiece(base: Addr, size: number, prot: number, ramOffset: number): void;
  unmapPiece(base: Addr, size: number, prot: number): void;
}

export class EnginePieces {
  readonly #mapper: PieceMapper;
  readonly #prot = new Uint8Array(PAGES);
  /** Mapped pieces by each of their pages, and by age. */
  readonly #byPage = new Map<number, Piece>();
  readonly #mapped = new Set<Piece>();
  /** The page of the shared buffer that each page is: not one piece, since memory may be mapped at several places. */
  readonly #ramPage = new Int32Array(PAGES);

  constructor(mapper: PieceMapper) {
    this.#mapper = mapper;
  }

  /** Is the address one of the area that is mapped by pieces? */
  covers(addr: Addr): boolean {
    return hi32(addr) === TEXT_HI && lo32(addr) >= FIRST_PAGE * PAGE_SIZE;
  }

  map(base: Addr, size: number, prot: number, ramOffset: number): void {
    const first = pageOf(base);
    const pages = size / PAGE_SIZE;
    this.#prot.fill(prot | THERE, first, first + pages);
    for (let i = 0; i < pages; i++) this.#ramPage[first + i] = ramOffset / PAGE_SIZE + i;
  }

  unmap(base: Addr, size: number): void {
    this.#change(base, size, 0);
  }

  protect(base: Addr, size: number, prot: number): void {
    this.#change(base, size, prot | THERE);
  }

  #change(base: Addr, size: number, prot: number): void {
    const first = pageOf(base);
    const end = pageOf(base + BigInt(size - 1)) + 1;
    for (let page = first; page < end; page++) {
      const piece = this.#byPage.get(page);
      if (piece && piece.prot !== prot) this.#drop(piece);
    }
    this.#prot.fill(prot, first, end);
  }

  /** Does the engine have the page of the address? */
  has(addr: Addr): boolean {
    return this.#byPage.has(pageOf(addr));
  }

  /**
   * An access that the engine has nothing mapped for.
   * @returns mapped: it may try again; forbidden: the memory is there, and not for that; nothing: it is not there.
   */
  touch(addr: Addr, access: 'read' | 'write' | 'fetch'): 'mapped' | 'forbidden' | 'nothing' {
    if (!this.covers(addr)) return 'nothing';
    const page = pageOf(addr);
    const prot = this.#prot[page];
    if (prot === 0) return 'nothing';
    if ((prot & NEEDED[access]) === 0) return 'forbidden';
    if (this.#byPage.has(page)) return 'nothing';
    this.#mapAround(page, prot);
    return 'mapped';
  }

  /** The piece that a page is in: as far as its neighbours have the same protection, and are next to it in memory. */
  #mapAround(page: number, prot: number): void {
    const shift = this.#ramPage[page] - page;
    const joins = (at: number) =>
      this.#prot[at] === prot && this.#ramPage[at] - at === shift && !this.#byPage.has(at);
    let first = page;
    let end = page + 1;
    while (joins(first - 1)) first--;
    while (joins(end)) end++;
    const piece = { first, end, prot };
    for (let at = first; at < end; at++) this.#byPage.set(at, piece);
    this.#mapped.add(piece);
    const size = (end - first) * PAGE_SIZE;
    this.#mapper.mapPiece(addressOf(first), size, prot & ~THERE, this.#ramPage[first] * PAGE_SIZE);
  }

  #drop(piece: Piece): void {
    for (let at = piece.first; at < piece.end; at++) this.#byPage.delete(at);
    this.#mapped.delete(piece);
    const size = (piece.end - piece.first) * PAGE_SIZE;
    this.#mapper.unmapPiece(addressOf(piece.first), size, piece.prot & ~THERE);
  }

  /** Takes the oldest away when there are too many: between two runs only, the engine may be in one. */
  trim(): void {
    if (this.#mapped.size <= KEPT) return;
    for (const piece of this.#mapped) {
      if (this.#mapped.size <= KEPT / 2) return;
      this.#drop(piece);
    }
  }
}

const pageOf = (addr: Addr): number => (lo32(addr) >>> 12) - FIRST_PAGE;
const addressOf = (page: number): Addr => MODULES_VADDR + BigInt(page * PAGE_SIZE);
