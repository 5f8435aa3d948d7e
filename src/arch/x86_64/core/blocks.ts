// Blocks of decoded operations: where they are found, and when they are no longer what memory holds.
//
// Invariant: a block whose text was changed has a count of 0, and is never entered again; what links to it looks it up.

import { CHANGED_HERE, GOTO } from './kinds';
import {
  BLOCK_COUNT,
  BLOCK_HEADER,
  BLOCK_NEXT,
  BLOCK_NEXT_SECOND,
  BLOCK_PAGE,
  BLOCK_RIP,
  BLOCK_SIZE,
  CPL,
  LOOKUP,
  LOOKUP_ENTRIES,
  OP_INDEX,
  OP_SIZE,
  PAGE_BLOCKS,
} from './layout';

/** User mode has blocks of its own: what it may execute differs. */
// @ts-expect-error: decorator
@inline function keyOf(rip: u64): u64 {
  return rip ^ (load<u64>(CPL) << 60);
}
// @ts-expect-error: decorator
@inline function slotOf(rip: u64): u32 {
  return LOOKUP + ((((<u32>rip) ^ <u32>(rip >> 13)) & (LOOKUP_ENTRIES - 1)) << 4);
}

/** The block that begins at an address; 0 when there is none. */
// @ts-expect-error: decorator
@inline export function findBlock(rip: u64): u32 {
  const slot = slotOf(rip);
  if (load<u64>(slot) != keyOf(rip)) return 0;
  const block = load<u32>(slot, 8);
  return load<u32>(block, BLOCK_COUNT) != 0 ? block : 0;
}

/** A block was decoded: it is found from now on, and gone when one of its pages changes. */
export function addBlock(block: u32): void {
  const rip = load<u64>(block, BLOCK_RIP);
  const slot = slotOf(rip);
  store<u64>(slot, keyOf(rip));
  store<u32>(slot, block, 8);
}

/** What was decoded from a page of RAM is no more. */
export function invalidatePage(page: u32): void {
  const head = load<u32>(PAGE_BLOCKS) + (page << 2);
  let block = load<u32>(head);
  store<u32>(head, 0);
  while (block != 0) {
    store<u32>(block, 0, BLOCK_COUNT);
    markChanged(block);
    block = load<u32>(block, BLOCK_PAGE) == page ? load<u32>(block, BLOCK_NEXT) : load<u32>(block, BLOCK_NEXT_SECOND);
  }
}

/** It may be this block that changed its own text: it ends before the next instruction. */
function markChanged(block: u32): void {
  const size = load<u32>(block, BLOCK_SIZE);
  let before: u32 = 0xffff;
  for (let op = block + BLOCK_HEADER; <u32>load<u16>(op, OP_INDEX) < size; op += OP_SIZE) {
    const index = <u32>load<u16>(op, OP_INDEX);
    if (index != before && load<u16>(op) != GOTO) store<u16>(op, CHANGED_HERE);
    before = index;
  }
}

/** No block is found by its address any more; links between blocks are as they were. */
export function forgetLookups(): void {
  memory.fill(LOOKUP, 0, LOOKUP_ENTRIES << 4);
}
