// CALL, RET, JMP through a register or memory, LOOP, JRCXZ. Intel SDM volume 2. Of those that are noted shadow.ts says why.

import { isZero } from './flags';
import { BLOCK_RIP, OP_END, OP_SIZE, RIP } from './layout';
import { read, stopped, write } from './memory';
import { noteCall } from './shadow';
import { a, b, c, imm, RCX, RSP } from './state';
import { canonical, protectionFault } from './system';

/** Where the instruction behind is. */
// @ts-expect-error: decorator
@inline export function behind(op: u32, block: u32): u64 {
  return load<u64>(block, BLOCK_RIP) + load<u16>(op, OP_END);
}

/** A call pushes where it comes back to. @returns false after a fault */
// @ts-expect-error: decorator
@inline function pushReturn(back: u64): bool {
  const sp = load<u64>(RSP) - 8;
  write<u64>(sp, back);
  if (stopped()) return false;
  store<u64>(RSP, sp);
  return true;
}

/** CALL: the link says where to. @returns false after a fault, as all of these */
// @ts-expect-error: decorator
@inline export function call(op: u32, block: u32): bool {
  return pushReturn(behind(op, block));
}
// @ts-expect-error: decorator
@inline export function callNoted(op: u32, block: u32): bool {
  const back = behind(op, block);
  if (!pushReturn(back)) return false;
  noteCall(load<u64>(RSP), back, op + OP_SIZE);
  return true;
}

/** CALL: RIP <- a */
// @ts-expect-error: decorator
@inline export function callIndirect(op: u32): bool {
  const target = load<u64>(a(op));
  if (!canonical(target)) return protectionFault(0);
  if (!pushReturn(imm(op))) return false;
  store<u64>(RIP, target);
  return true;
}
// @ts-expect-error: decorator
@inline export function callIndirectNoted(op: u32): bool {
  if (!callIndirect(op)) return false;
  noteCall(load<u64>(RSP), imm(op), op + OP_SIZE);
  return true;
}

/** JMP: RIP <- a */
// @ts-expect-error: decorator
@inline export function jumpIndirect(op: u32): bool {
  const target = load<u64>(a(op));
  if (!canonical(target)) return protectionFault(0);
  store<u64>(RIP, target);
  return true;
}

/** RET: RIP from the stack, imm bytes more are dropped */
// @ts-expect-error: decorator
@inline export function ret(op: u32): bool {
  const sp = load<u64>(RSP);
  const target = read<u64>(sp);
  if (stopped()) return false;
  if (!canonical(target)) return protectionFault(0);
  store<u64>(RSP, sp + 8 + imm(op));
  store<u64>(RIP, target);
  return true;
}

/** LOOP, LOOPE, LOOPNE, JRCXZ: whether the branch is taken. */
export function loopAgain(op: u32): bool {
  const wide = b(op) == 0;
  const how = c(op);
  let counter = wide ? load<u64>(RCX) : <u64>load<u32>(RCX);
  if (how == 3) return counter == 0;
  counter = wide ? counter - 1 : <u64>(<u32>(counter - 1));
  store<u64>(RCX, counter);
  if (counter == 0) return false;
  return how == 2 || isZero() == (how == 1);
}
