// What is observed of execution when somebody asks: a ring of blocks, calls and accesses; how often each instruction was
// executed; breakpoints; watched memory; stores that wait, as x86-TSO lets them (Intel SDM volume 3, 9.2).
//
// None of it costs anything while it is off. What is said of instructions is an operation of its own, which the engine
// writes only then (OBSERVED, BREAK_HERE, DRAIN). Accesses come here by way of the table of translations: while they are
// looked at, there is none for the pages in question (memory.ts), and all of them go the slow way.
//
// Invariant: an access that is watched ends the run before anything of its instruction has happened; it is executed again
// with WATCH_RECORDS, and then its hits are those of one execution.

import { invalidatePage } from './blocks';
import { READ, STOP_BLOCK_END, STOP_BREAKPOINT, STOP_BUDGET, STOP_DECODE, STOP_WATCHED, WRITE } from './kinds';
import * as L from './layout';
import { isExecutable, pageOf, ramOf } from './memory';
import { a, b, c } from './state';

// Instructions

/** An OBSERVED operation. @param left instructions of the budget that are left before it */
export function observeInstruction(op: u32, rip: u64, left: i32): void {
  const counter = a(op);
  const transfer = c(op);
  const number = load<u64>(L.RUN_ENDS_AT) - <u64>left;
  if (load<u32>(L.TRANSFER) != 0) endTransfer(rip);
  store<u64>(L.NOW, number);
  store<u64>(L.NOW_RIP, rip);
  if (counter != 0) store<u64>(counter, load<u64>(counter) + 1);
  if ((b(op) & 1) != 0) event(L.EVENT_BLOCK, number, rip, rip, 0);
  if (transfer == 0) return;
  store<u32>(L.TRANSFER, transfer);
  store<u64>(L.TRANSFER_RIP, rip);
  store<u64>(L.TRANSFER_NUMBER, number);
}

function endTransfer(to: u64): void {
  event(load<u32>(L.TRANSFER), load<u64>(L.TRANSFER_NUMBER), load<u64>(L.TRANSFER_RIP), to, 0);
  store<u32>(L.TRANSFER, 0);
}

/** The run ends while a transfer is not told of yet: it led to `rip`, or did not take place. */
export function endRun(stop: u32, rip: u64): void {
  const behind = stop == STOP_BUDGET || stop == STOP_BLOCK_END || stop == STOP_DECODE || stop == STOP_BREAKPOINT;
  if (behind) endTransfer(rip);
  else store<u32>(L.TRANSFER, 0);
}

function event(what: u32, number: u64, rip: u64, address: u64, value: u64): void {
  const count = load<u64>(L.EVENT_COUNT);
  const at = L.EVENTS + (<u32>count & (L.MOST_EVENTS - 1)) * L.EVENT_SIZE;
  store<u32>(at, what);
  store<u32>(at, load<u32>(L.EVENT_CONTEXT), L.EVENT_OF_CONTEXT);
  store<u64>(at, number, L.EVENT_NUMBER);
  store<u64>(at, rip, L.EVENT_RIP);
  store<u64>(at, address, L.EVENT_ADDRESS);
  store<u64>(at, value, L.EVENT_VALUE);
  store<u64>(L.EVENT_COUNT, count + 1);
}

/** What was told of the instruction that is executed again is told then. */
function retract(): void {
  const number = load<u64>(L.NOW);
  for (let count = load<u64>(L.EVENT_COUNT); count > 0; count--) {
    const at = L.EVENTS + (<u32>(count - 1) & (L.MOST_EVENTS - 1)) * L.EVENT_SIZE;
    const what = load<u32>(at) & 0xff;
    if (load<u64>(at, L.EVENT_NUMBER) != number || what == L.EVENT_CALL || what == L.EVENT_RETURN) return;
    store<u64>(L.EVENT_COUNT, count - 1);
  }
}

// Accesses. All bytes were found accessible before.

/** A read, or one of what the instruction writes afterwards. @returns its value; after STOP_WATCHED it means nothing */
export function observeRead(va: u64, size: u32, access: u32): u64 {
  const observing = load<u32>(L.OBSERVING);
  if ((observing & L.OBSERVE_WATCH) != 0 && stopsBefore(va, size, access == WRITE ? L.READ_BIT | L.WRITE_BIT : L.READ_BIT)) return 0;
  const value = valueOf(va, size);
  if ((observing & L.OBSERVE_WATCH) != 0) noteHit(va, size, READ, value, value);
  if ((observing & L.OBSERVE_LOG) != 0) event(L.EVENT_READ | (size << 8), load<u64>(L.NOW), load<u64>(L.NOW_RIP), va, value);
  return value;
}

/** A write; nothing is written when it is watched. */
export function observeWrite(va: u64, size: u32, value: u64): void {
  const observing = load<u32>(L.OBSERVING);
  if ((observing & L.OBSERVE_WATCH) != 0) {
    if (stopsBefore(va, size, L.WRITE_BIT)) return;
    noteHit(va, size, WRITE, valueOf(va, size), value);
  }
  if ((observing & L.OBSERVE_LOG) != 0) event(L.EVENT_WRITE | (size << 8), load<u64>(L.NOW), load<u64>(L.NOW_RIP), va, value);
  const first = inPage(va, size);
  keep(va, first, value);
  if (first < size) keep(va + first, size - first, value >> (first << 3));
}

/** Bytes of an access that lie in its first page. */
function inPage(va: u64, size: u32): u32 {
  const left: u32 = 0x1000 - (<u32>va & 0xfff);
  return left < size ? left : size;
}

function linear(va: u64): u32 {
  return load<u32>(L.RAM) + ramOf(va);
}

/** What a context reads there: memory, and what of its stores waits. */
function valueOf(va: u64, size: u32): u64 {
  let value: u64 = 0;
  for (let i: u32 = 0; i < size; i++) value |= <u64>seenAt(linear(va + i)) << (i << 3);
  return value;
}

/** A byte of linear memory as the context sees it. */
export function seenAt(at: u32): u32 {
  const queue = load<u32>(L.STORE_QUEUE);
  if (queue != 0) {
    for (let i = load<i32>(queue) - 1; i >= 0; i--) {
      const store = queue + L.STORE_QUEUE_HEADER + <u32>i * L.STORE_SIZE;
      const offset = at - load<u32>(store);
      if (offset < load<u32>(store, L.STORE_BYTES)) return load<u8>(store + offset, L.STORE_VALUE);
    }
  }
  return load<u8>(at);
}

// Watched memory

/** Whether one of the watched ranges has any of the bytes, under one of the kinds of access. */
function isWatched(va: u64, size: u32, kinds: u32): bool {
  const space = <u32>(load<u64>(L.CR3) >> 12) + 1;
  const physical = <u64>ramOf(va);
  const count = load<u32>(L.WATCH_COUNT);
  for (let i: u32 = 0; i < count; i++) {
    const watch: u32 = L.WATCHES + i * L.WATCH_SIZE;
    if ((load<u32>(watch, L.WATCH_ACCESS) & kinds) == 0) continue;
    const only = load<u32>(watch, L.WATCH_SPACE);
    if (only != 0 && only != space) continue;
    const at = load<u32>(watch, L.WATCH_PHYSICAL) != 0 ? physical : va;
    if (at <= load<u64>(watch, L.WATCH_LAST) && at + (size - 1) >= load<u64>(watch)) return true;
  }
  return false;
}

/** An access across a page's end is two: what follows an address in RAM is another page's. */
function isAnyWatched(va: u64, size: u32, kinds: u32): bool {
  const first = inPage(va, size);
  return isWatched(va, first, kinds) || (first < size && isWatched(va + first, size - first, kinds));
}

/** Whether an access to the page may be watched: it is to have no translation. */
export function isPageWatched(va: u64): bool {
  return isWatched(va & ~0xfff, 0x1000, L.READ_BIT | L.WRITE_BIT);
}

function stopsBefore(va: u64, size: u32, kinds: u32): bool {
  if (load<u32>(L.WATCH_RECORDS) != 0 || !isAnyWatched(va, size, kinds)) return false;
  store<u32>(L.STOP, STOP_WATCHED);
  if ((load<u32>(L.OBSERVING) & L.OBSERVE_LOG) != 0) retract();
  return true;
}

function noteHit(va: u64, size: u32, access: u32, before: u64, after: u64): void {
  if (load<u32>(L.WATCH_RECORDS) == 0) return;
  if (!isAnyWatched(va, size, access == WRITE ? L.WRITE_BIT : L.READ_BIT)) return;
  const count = load<u32>(L.HIT_COUNT);
  store<u32>(L.HIT_COUNT, count + 1);
  if (count >= <u32>L.MOST_HITS) return;
  const hit = L.HITS + count * L.HIT_SIZE;
  store<u64>(hit, va);
  store<u64>(hit, before, L.HIT_BEFORE);
  store<u64>(hit, after, L.HIT_AFTER);
  store<u32>(hit, size, L.HIT_BYTES);
  store<u32>(hit, access, L.HIT_ACCESS);
}

// Stores that wait

/** Bytes of one page are stored, or wait. Those of code do not: processors look for them. */
function keep(va: u64, size: u32, value: u64): void {
  const at = linear(va);
  const queue = load<u32>(L.STORE_QUEUE);
  if (queue != 0 && !isExecutable(at)) {
    if (load<u32>(queue) == L.MOST_STORES) drainQueue(queue, 1);
    const count = load<u32>(queue);
    const entry = queue + L.STORE_QUEUE_HEADER + count * L.STORE_SIZE;
    store<u32>(entry, at);
    store<u32>(entry, size, L.STORE_BYTES);
    store<u64>(entry, value, L.STORE_VALUE);
    store<u32>(queue, count + 1);
    return;
  }
  if (queue != 0) drainQueue(queue, L.MOST_STORES);
  put(at, size, value);
}

function put(at: u32, size: u32, value: u64): void {
  if (size == 8) store<u64>(at, value);
  else if (size == 4) store<u32>(at, <u32>value);
  else for (let i: u32 = 0; i < size; i++) store<u8>(at + i, <u8>(value >> (i << 3)));
  const page = pageOf(at);
  if (load<u32>(load<u32>(L.PAGE_BLOCKS) + (page << 2)) != 0) invalidatePage(page);
}

/** The oldest stores of a queue become visible to all. @returns how many wait still */
export function drainQueue(queue: u32, most: u32): u32 {
  const count = load<u32>(queue);
  const done = most < count ? most : count;
  const first = queue + L.STORE_QUEUE_HEADER;
  for (let i: u32 = 0; i < done; i++) {
    const entry = first + i * L.STORE_SIZE;
    put(load<u32>(entry), load<u32>(entry, L.STORE_BYTES), load<u64>(entry, L.STORE_VALUE));
  }
  memory.copy(first, first + done * L.STORE_SIZE, (count - done) * L.STORE_SIZE);
  store<u32>(queue, count - done);
  return count - done;
}

/** All of the context's that executes. */
export function drain(): void {
  const queue = load<u32>(L.STORE_QUEUE);
  if (queue != 0) drainQueue(queue, L.MOST_STORES);
}
