// Guest memory as instructions see it: virtual addresses, through a table of recent translations, to bytes of linear memory.
//
// The address space is a few windows of RAM (src/guest/memory.ts); a byte a page of RAM says what may be done with it. A
// translation is kept for one privilege (kernel, user, kernel with AC) and one kind of access, and only for aligned
// accesses: what may cross a page's end takes the slow way.
//
// Invariant: a page of RAM that code was decoded from has no translation for writes, so that each write to it is seen; and
// one has none at all whose accesses are observed (observe.ts).

import { invalidatePage } from './blocks';
import { AC } from './flags';
import { FETCH, READ, STOP_BUDGET, STOP_PAGE_FAULT, WRITE } from './kinds';
import {
  BOUNCE,
  CPL,
  CR3,
  ELSEWHERE,
  ELSEWHERE_SIZE,
  MAX_WINDOWS,
  OBSERVE_WATCH,
  OBSERVING,
  PAGE_BLOCKS,
  PAGES,
  PROTECTION,
  RAM,
  RFLAGS,
  STOP,
  STOP_ACCESS,
  STOP_ADDR,
  STOP_CODE,
  STOP_UNMAPPED,
  TLB,
  TLB_ENTRIES,
  TLB_HALF,
  TLB_SET,
  TLB_SETS,
  TOUCHED,
  WINDOW_COUNT,
  WINDOW_SIZE,
  WINDOWS,
} from './layout';
import { isPageWatched, observeRead, observeWrite } from './observe';

// PROT_ bits of src/guest/memory.ts, and those of the core's own.
const PROT_READ: u32 = 1;
const PROT_WRITE: u32 = 2;
const PROT_EXEC: u32 = 4;
/** A page of user programs. */
const PAGE_USER: u32 = 8;
const MAPPED: u32 = 0x80;
/** A window in which each slot of 32 KiB has a stack in its upper half. */
const SHAPE_STACKS: u32 = 1;

/** A window that each address space has RAM of its own for. Nothing in it is executable: blocks know no spaces. */
const SHAPE_SPACES: u32 = 2;

const PAGE_MASK: u64 = 0xfff;
/** The tag of an entry that no access matches: alignment bits are below it. */
const NO_TAG: u64 = 0x800;

/** The translations that count at present. */
let tlb: u32 = TLB;

/** An access failed, or the run is to end behind this instruction. */
// @ts-expect-error: decorator
@inline export function stopped(): bool {
  return load<u32>(STOP) != STOP_BUDGET;
}

/** To be called when CPL or AC has changed. */
export function choosePrivilege(): void {
  if (load<u64>(CPL) != 0) tlb = TLB + TLB_SET;
  else tlb = (load<u64>(RFLAGS) & AC) != 0 ? TLB + 2 * TLB_SET : TLB;
}

/** The address space that translations of users' addresses are of. */
let space: u64 = 0;

/** To be called when CR3 may have changed: the kernel's own translations, without AC, are the same in every space. */
export function chooseSpace(): void {
  const cr3 = load<u64>(CR3);
  if (cr3 == space) return;
  space = cr3;
  for (let half = 2; half < TLB_SETS * 2; half++) forgetHalf(half);
}

function forgetHalf(half: i32): void {
  for (let entry = 0; entry < TLB_ENTRIES; entry++) store<u64>(TLB + half * TLB_HALF + (entry << 4), NO_TAG);
}

/** Forgets every translation. */
export function flushTlb(): void {
  for (let half = 0; half < TLB_SETS * 2; half++) forgetHalf(half);
}

/** Offset in RAM of an address; -1 when there is nothing. */
export function ramOf(va: u64): u32 {
  const hi = <u32>(va >> 32);
  const lo = <u32>va;
  const count = load<u32>(WINDOW_COUNT);
  for (let i: u32 = 0; i < count; i++) {
    const window: u32 = WINDOWS + i * WINDOW_SIZE;
    if (load<u32>(window) != hi) continue;
    const offset = lo - load<u32>(window, 4);
    if (offset >= load<u32>(window, 8) || lo < load<u32>(window, 4)) continue;
    const ram = load<u32>(window, 12);
    const shape = load<u32>(window, 16);
    if (shape == SHAPE_SPACES) {
      const space = <u32>(load<u64>(CR3) >> 12) - 1;
      return space < load<u32>(window, 20) ? ram + space * load<u32>(window, 8) + offset : 0xffffffff;
    }
    if (shape != SHAPE_STACKS) return ram + offset;
    const inSlot = offset & 0x7fff;
    return inSlot < 0x4000 ? 0xffffffff : ram + (offset >> 15) * 0x4000 + inSlot - 0x4000;
  }
  const elsewhere = load<u32>(ELSEWHERE_SIZE);
  return elsewhere == 0 ? 0xffffffff : load<u32>(ELSEWHERE) + (lo & (elsewhere - 1));
}

/** What forbids the access; 0 when nothing does. Intel SDM volume 3, 4.6. */
function forbidden(prot: u32, access: u32): bool {
  const user = load<u64>(CPL) != 0;
  if (load<u32>(PROTECTION) != 0) {
    const userPage = (prot & PAGE_USER) != 0;
    if (user && !userPage) return true;
    // SMEP, and SMAP outside of stac and clac
    if (!user && userPage && (access == FETCH || (load<u64>(RFLAGS) & AC) == 0)) return true;
  }
  if (access == READ) return (prot & PROT_READ) == 0;
  return access == WRITE ? (prot & PROT_WRITE) == 0 : (prot & PROT_EXEC) == 0;
}

function pageFault(va: u64, access: u32, unmapped: bool): u32 {
  store<u32>(STOP, STOP_PAGE_FAULT);
  store<u64>(STOP_ADDR, va);
  store<u32>(STOP_ACCESS, access);
  store<u32>(STOP_UNMAPPED, unmapped);
  store<u32>(STOP_CODE, 0);
  return 0;
}

/** Whether every access to the page is to be looked at. */
// @ts-expect-error: decorator
@inline function isObserved(va: u64): bool {
  const observing = load<u32>(OBSERVING);
  return observing != 0 && (observing != OBSERVE_WATCH || isPageWatched(va));
}

/** Address in linear memory of a byte that is to be accessed so; 0 after a page fault. */
export function translate(va: u64, access: u32): u32 {
  const ram = ramOf(va);
  const prot = ram == 0xffffffff ? 0 : <u32>load<u8>(load<u32>(PAGES) + (ram >> 12));
  if ((prot & MAPPED) == 0) return pageFault(va, access, true);
  if (forbidden(prot, access)) return pageFault(va, access, false);
  const at = load<u32>(RAM) + ram;
  if (access == WRITE) store<u8>(load<u32>(TOUCHED) + (ram >> 12), 1);
  if (access != FETCH && !(access == WRITE && prot & PROT_EXEC) && !isObserved(va)) {
    const entry = tlb + (access == WRITE ? TLB_HALF : 0) + (<u32>(va >> 8) & 0xff0);
    store<u64>(entry, va & ~PAGE_MASK);
    store<u32>(entry, at - <u32>va, 8);
  }
  return at;
}

// @ts-expect-error: decorator
@inline function crosses(va: u64, size: u32): bool {
  return (<u32>va & 0xfff) + size > 0x1000;
}

/** Address in linear memory of `size` bytes to be read, together at BOUNCE where they cross a page's end; 0 after a fault. */
function readable(va: u64, size: u32, access: u32): u32 {
  const at = translate(va, access);
  if (at == 0 || !crosses(va, size)) return at;
  const first = 0x1000 - (<u32>va & 0xfff);
  const rest = translate(va + first, access);
  if (rest == 0) return 0;
  memory.copy(BOUNCE, at, first);
  memory.copy(BOUNCE + first, rest, size - first);
  return BOUNCE;
}

function loadSlowly<T>(va: u64, access: u32): T {
  const at = readable(va, sizeof<T>(), access);
  if (at == 0) return <T>0;
  return load<u32>(OBSERVING) == 0 ? load<T>(at) : <T>observeRead(va, sizeof<T>(), access);
}

function storeSlowly<T>(va: u64, value: T): void {
  const at = translate(va, WRITE);
  if (at == 0) return;
  const first = 0x1000 - (<u32>va & 0xfff);
  const rest = crosses(va, sizeof<T>()) ? translate(va + first, WRITE) : at;
  if (rest == 0) return;
  if (load<u32>(OBSERVING) != 0) {
    observeWrite(va, sizeof<T>(), <u64>value);
    return;
  }
  if (rest == at) {
    store<T>(at, value);
    wrote(at);
    return;
  }
  store<T>(BOUNCE, value);
  memory.copy(at, BOUNCE, first);
  memory.copy(rest, BOUNCE + first, sizeof<T>() - first);
  wrote(at);
  wrote(rest);
}

/** The page of RAM that an address in linear memory is in. */
export function pageOf(at: u32): u32 {
  return (at - load<u32>(RAM)) >> 12;
}
export function isExecutable(at: u32): bool {
  return (load<u8>(load<u32>(PAGES) + pageOf(at)) & PROT_EXEC) != 0;
}

/** Bytes were written on a slow way: code that was decoded from them is no more. */
function wrote(at: u32): void {
  const page = pageOf(at);
  if (load<u32>(load<u32>(PAGE_BLOCKS) + (page << 2)) != 0) invalidatePage(page);
}

/** A read. After a fault stopped() holds, and the value means nothing. */
// @ts-expect-error: decorator
@inline export function read<T>(va: u64): T {
  const entry = tlb + (<u32>(va >> 8) & 0xff0);
  if (load<u64>(entry) == (va & ~(PAGE_MASK ^ (sizeof<T>() - 1)))) return load<T>(<u32>va + load<u32>(entry, 8));
  return loadSlowly<T>(va, READ);
}

/** Address in linear memory of what may be read there, if that is among the recent translations; else 0. No access. */
// @ts-expect-error: decorator
@inline export function translated<T>(va: u64): u32 {
  const entry = tlb + (<u32>(va >> 8) & 0xff0);
  return load<u64>(entry) == (va & ~(PAGE_MASK ^ (sizeof<T>() - 1))) ? <u32>va + load<u32>(entry, 8) : 0;
}

/** As translated(), of any alignment, for the bytes from there to the page's end. */
// @ts-expect-error: decorator
@inline export function readableSpan(va: u64): u32 {
  const entry = tlb + (<u32>(va >> 8) & 0xff0);
  return load<u64>(entry) == (va & ~PAGE_MASK) ? <u32>va + load<u32>(entry, 8) : 0;
}

/** As readableSpan(), of what may be written. */
// @ts-expect-error: decorator
@inline export function writableSpan(va: u64): u32 {
  const entry = tlb + TLB_HALF + (<u32>(va >> 8) & 0xff0);
  return load<u64>(entry) == (va & ~PAGE_MASK) ? <u32>va + load<u32>(entry, 8) : 0;
}

/** Bytes from an address to the end of its page. */
// @ts-expect-error: decorator
@inline export function toPageEnd(va: u64): u32 {
  return 0x1000 - (<u32>va & 0xfff);
}

/** A read of what the same instruction writes afterwards: it must be writable. */
// @ts-expect-error: decorator
@inline export function readToWrite<T>(va: u64): T {
  const entry = tlb + TLB_HALF + (<u32>(va >> 8) & 0xff0);
  if (load<u64>(entry) == (va & ~(PAGE_MASK ^ (sizeof<T>() - 1)))) return load<T>(<u32>va + load<u32>(entry, 8));
  return loadSlowly<T>(va, WRITE);
}

/** A write. After a fault stopped() holds, and nothing is written. */
// @ts-expect-error: decorator
@inline export function write<T>(va: u64, value: T): void {
  const entry = tlb + TLB_HALF + (<u32>(va >> 8) & 0xff0);
  if (load<u64>(entry) == (va & ~(PAGE_MASK ^ (sizeof<T>() - 1)))) store<T>(<u32>va + load<u32>(entry, 8), value);
  else storeSlowly<T>(va, value);
}

/** Whether a byte may be written, which is a fault if not; no access. */
// @ts-expect-error: decorator
@inline export function mayWrite(va: u64): bool {
  const entry = tlb + TLB_HALF + (<u32>(va >> 8) & 0xff0);
  if (load<u64>(entry) == (va & ~PAGE_MASK)) return true;
  return translate(va, WRITE) != 0;
}
