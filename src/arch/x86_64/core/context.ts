// The context of an emulated CPU: from where it waits to where it executes, and back.

import { readFlags, writeFlags } from './flags';
import { CONTEXT_SIZE, REGS, RFLAGS } from './layout';
import { choosePrivilege } from './memory';

/** Takes in the context that lies at an address. */
export function enterContext(context: u32): void {
  memory.copy(REGS, context, CONTEXT_SIZE);
  writeFlags(load<u64>(RFLAGS));
  choosePrivilege();
}

/** Puts it back. */
export function leaveContext(context: u32): void {
  memory.copy(context, REGS, CONTEXT_SIZE);
  store<u64>(context + (RFLAGS - REGS), readFlags());
}
