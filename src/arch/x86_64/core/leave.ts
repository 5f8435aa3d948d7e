// How a run ends: what of a block was not executed is given back to the budget, and RIP is where it goes on.

import { OBSERVED, BUDGET_HERE, STOP_BUDGET } from './kinds';
import * as L from './layout';
import { stopped } from './memory';
import { endRun } from './observe';
import { a } from './state';

/** An operation that the budget's end was written over, and what it was. */
let planted: u32 = 0;
let plantedKind: u16 = 0;

/** Instructions of the block from this operation's on: they were taken from the budget. */
// @ts-expect-error: decorator
@inline export function rest(op: u32, block: u32): i32 {
  return <i32>load<u32>(block, L.BLOCK_SIZE) - <i32>load<u16>(op, L.OP_INDEX);
}

/** Address of the operation's instruction. */
// @ts-expect-error: decorator
@inline export function startOf(op: u32, block: u32): u64 {
  return load<u64>(block, L.BLOCK_RIP) + load<u16>(op, L.OP_START);
}

/** Executed of the block before this operation's instruction: the rest is given back. @returns why it stopped */
export function leave(op: u32, block: u32, left: i32): i32 {
  uncount(op, block);
  return end(load<u32>(L.STOP), startOf(op, block), left + rest(op, block));
}

export function leaveBy(stop: u32, op: u32, block: u32, left: i32): i32 {
  store<u32>(L.STOP, stop);
  return leave(op, block, left);
}

/** The instruction is done, and ends the run. */
export function leaveBehind(stop: u32, op: u32, block: u32, left: i32): i32 {
  const rip = load<u64>(block, L.BLOCK_RIP) + load<u16>(op, L.OP_END);
  return end(stop, rip, left + rest(op, block) - 1);
}

/** A repetition faulted, or the budget is used up: it is at its instruction still, the only one of its block. LEFT is set. */
export function leaveRepetition(block: u32): i32 {
  const rip = load<u64>(block, L.BLOCK_RIP);
  const left = load<i32>(L.LEFT);
  return stopped() ? end(load<u32>(L.STOP), rip, left + 1) : end(STOP_BUDGET, rip, left);
}

export function end(stop: u32, rip: u64, left: i32): i32 {
  store<u32>(L.STOP, stop);
  store<u64>(L.RIP, rip);
  store<i32>(L.LEFT, left);
  if (planted != 0) store<u16>(planted, plantedKind);
  planted = 0;
  if (load<u32>(L.TRANSFER) != 0) endRun(stop, rip);
  return <i32>stop;
}

/** No operation has anything written over it any more. */
export function forgetPlanted(): void {
  planted = 0;
}

/** Makes the block end before its instruction number `at`. */
export function plant(block: u32, at: i32): void {
  let op = block + L.BLOCK_HEADER;
  while (<i32>load<u16>(op, L.OP_INDEX) < at) op += L.OP_SIZE;
  planted = op;
  plantedKind = load<u16>(op);
  store<u16>(op, BUDGET_HERE);
}

/** Where executions are counted, the one that this operation's instruction began is none. */
function uncount(op: u32, block: u32): void {
  const index = load<u16>(op, L.OP_INDEX);
  const first = block + L.BLOCK_HEADER;
  for (let other = op - L.OP_SIZE; other >= first && load<u16>(other, L.OP_INDEX) == index; other -= L.OP_SIZE) {
    if (load<u16>(other) == OBSERVED && a(other) != 0) store<u64>(a(other), load<u64>(a(other)) - 1);
  }
}
