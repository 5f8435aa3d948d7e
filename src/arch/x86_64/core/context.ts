// The context of an emulated CPU: from where it waits to where it executes, and back.

import { readFlags, writeFlags } from './flags';
import { CONTEXT_SIZE, REGS, RFLAGS, VECTOR_OWNER, VECTOR_SIZE, VECTOR_USED, ZMM } from './layout';
import { choosePrivilege, chooseSpace } from './memory';

/** Takes in the context that lies at an address. */
export function enterContext(context: u32): void {
  memory.copy(REGS, context, CONTEXT_SIZE);
  writeFlags(load<u64>(RFLAGS));
  choosePrivilege();
  chooseSpace();
  if (load<u32>(VECTOR_USED) != 0 && load<u32>(VECTOR_OWNER) != context) takeVectors(context);
}

/** Vector registers stay where they are until another context needs them. */
function takeVectors(context: u32): void {
  const owner = load<u32>(VECTOR_OWNER);
  if (owner != 0) memory.copy(owner + CONTEXT_SIZE, ZMM, VECTOR_SIZE);
  memory.copy(ZMM, context + CONTEXT_SIZE, VECTOR_SIZE);
  store<u32>(VECTOR_OWNER, context);
}

/** Puts it back. */
export function leaveContext(context: u32): void {
  memory.copy(context, REGS, CONTEXT_SIZE);
  store<u64>(context + (RFLAGS - REGS), readFlags());
}
