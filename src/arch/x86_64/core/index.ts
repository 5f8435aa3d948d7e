// What the engine around the core calls.

import { addBlock, forgetLookups, invalidatePage } from './blocks';
import { enterContext, leaveContext } from './context';
import { FETCH, STOP_BUDGET } from './kinds';
import { STOP } from './layout';
import { forgetPlanted } from './leave';
import { run, runFrom } from './loop';
import { choosePrivilege, chooseSpace, flushTlb, ramOf, translate } from './memory';
import { drainQueue, observeRead, observeWrite } from './observe';

export { addBlock, drainQueue, enterContext, flushTlb, forgetLookups, invalidatePage, observeRead, observeWrite, ramOf };

/** For another machine, whose memory says nothing of the one before: nor does what is not in memory. */
export function begin(): void {
  forgetPlanted();
  choosePrivilege();
  chooseSpace();
  flushTlb();
}

/** Executes a context. @returns a STOP_ */
export function runContext(context: u32, budget: i32, oneBlock: bool): i32 {
  enterContext(context);
  const stop = run(budget, oneBlock);
  leaveContext(context);
  return stop;
}

/** Executes one block with the registers that are there, found by its address in the arena alone. @returns a STOP_ */
export function runBlock(block: u32, budget: i32): i32 {
  return runFrom(block, budget, true);
}

/** Address in linear memory of a byte that is to be accessed so; 0 after a page fault. */
export function reach(va: u64, access: u32): u32 {
  store<u32>(STOP, STOP_BUDGET);
  return translate(va, access);
}

/** Address in linear memory of code; 0 after a page fault. */
export function fetch(va: u64): u32 {
  store<u32>(STOP, STOP_BUDGET);
  return translate(va, FETCH);
}
