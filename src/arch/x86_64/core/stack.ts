// PUSH, POP, PUSHF, POPF, LEAVE, ENTER. Intel SDM volume 2.
//
// Invariant: the stack pointer changes only when the access to the stack was good.

import { AC, ARITHMETIC, CF, DF, IF, NT, RF, readFlags, TF, writeFlags } from './flags';
import { CPL, RFLAGS } from './layout';
import { choosePrivilege, mayWrite, read, stopped, write } from './memory';
import { a, b, c, get, imm, RBP, RSP, set } from './state';

/** PUSH: b onto the stack. @returns false after a fault */
// @ts-expect-error: decorator
@inline export function push<T>(op: u32): bool {
  const value = get<T>(b(op));
  const sp = load<u64>(RSP) - sizeof<T>();
  write<T>(sp, value);
  if (stopped()) return false;
  store<u64>(RSP, sp);
  return true;
}

/** POP: a from the stack; a pop of the stack pointer itself has the value. @returns false after a fault */
// @ts-expect-error: decorator
@inline export function pop<T>(op: u32): bool {
  const sp = load<u64>(RSP);
  const value = read<T>(sp);
  if (stopped()) return false;
  store<u64>(RSP, sp + sizeof<T>());
  set<T>(a(op), value);
  return true;
}

/** PUSHFQ, PUSHF: RF and VM are pushed as 0 */
export function pushf<T>(): bool {
  const sp = load<u64>(RSP) - sizeof<T>();
  write<T>(sp, <T>(readFlags() & ~RF));
  if (stopped()) return false;
  store<u64>(RSP, sp);
  return true;
}

/** What popf may change: IF by the kernel alone (IOPL is 0). */
const POPPED: u64 = ARITHMETIC | TF | DF | NT | AC | 0x200000; // ID

/** POPFQ, POPF */
export function popf<T>(): bool {
  const sp = load<u64>(RSP);
  const value = <u64>read<T>(sp);
  if (stopped()) return false;
  store<u64>(RSP, sp + sizeof<T>());
  const kernel = load<u64>(CPL) == 0;
  const mask = (kernel ? POPPED | IF | 0x3000 : POPPED) & <u64>(<T>~0); // IOPL
  writeFlags((load<u64>(RFLAGS) & ~(mask | RF)) | (value & mask) | 2);
  choosePrivilege();
  return true;
}

/** LEAVE: rsp <- rbp, then pop of rbp, or of bp */
// @ts-expect-error: decorator
@inline export function leaveFrame<T>(): bool {
  const frame = load<u64>(RBP);
  const value = read<T>(frame);
  if (stopped()) return false;
  store<u64>(RSP, frame + sizeof<T>());
  set<T>(RBP, value);
  return true;
}

/**
 * ENTER: a frame with room for imm bytes; nesting levels copy frame pointers of the outer frames. It faults, too, where
 * the room's end may not be written.
 */
export function enterFrame<T>(op: u32): bool {
  const level = c(op) & 31;
  let sp = load<u64>(RSP) - sizeof<T>();
  const frame = sp;
  write<T>(sp, load<T>(RBP));
  if (stopped()) return false;
  for (let i: u32 = 1; i < level; i++) {
    const outer = read<T>(load<u64>(RBP) - sizeof<T>() * i);
    if (stopped()) return false;
    sp -= sizeof<T>();
    write<T>(sp, outer);
    if (stopped()) return false;
  }
  if (level > 0) {
    sp -= sizeof<T>();
    write<T>(sp, <T>frame);
    if (stopped()) return false;
  }
  sp -= imm(op);
  if (!mayWrite(sp)) return false;
  store<u64>(RBP, frame);
  store<u64>(RSP, sp);
  return true;
}
