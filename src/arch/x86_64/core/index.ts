// What the engine around the core calls.

import { addBlock, forgetLookups, invalidatePage } from './blocks';
import { enterContext, leaveContext } from './context';
import { FETCH, STOP_BUDGET } from './kinds';
import { STOP } from './layout';
import { run } from './loop';
import { flushTlb, ramOf, translate } from './memory';

export { addBlock, flushTlb, forgetLookups, invalidatePage, ramOf };

/** Executes a context. @returns a STOP_ */
export function runContext(context: u32, budget: i32, oneBlock: bool): i32 {
  enterContext(context);
  const stop = run(budget, oneBlock);
  leaveContext(context);
  return stop;
}

/** Address in linear memory of code; 0 after a page fault. */
export function fetch(va: u64): u32 {
  store<u32>(STOP, STOP_BUDGET);
  return translate(va, FETCH);
}
