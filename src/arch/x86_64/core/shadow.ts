// Ground truth: the frames that kernel code makes and leaves, noted as it executes; and which trampolines of ftrace it
// goes through. Read by src/unwind/shadow.ts and by who checks calls; the operations that note are written for the
// kernel's code only where somebody wants to know (engine/translate).
//
// Beside each 8 bytes of a task stack lie 8 more: what a call pushed there, and a word that says so. Its bits from 5 on
// are the operation behind the call, which a return takes without a look-up when it leads there.
//
// Invariant: what lies deeper in a stack than its depth is 0.

import { GOTO } from './kinds';
import {
  CURRENT_TASK,
  DEPTHS,
  FRAMES,
  GS_BASE,
  NOTE_ADDRESS,
  NOTE_COUNT,
  NOTE_LEFT,
  NOTE_SIZE,
  NOTE_SLOT,
  NOTE_STATE,
  NOTE_TARGET,
  NOTE_TASK,
  NOTE_WHAT,
  NOTES,
  NOTES_MOST,
  OP_IMM,
  PAGES,
  RAM,
  STORE_QUEUE,
  TASK_STATE,
} from './layout';
import { ramOf, translated } from './memory';
import { seenAt } from './observe';
import { RSP } from './state';

/** High half of the addresses of task stacks; a slot of 32 KiB each, its upper half the stack. */
const STACK_HI: u32 = 0xffffc900;
const SLOT_BITS: u32 = 15;
const SLOT: u32 = 0x8000;
const STACK: u32 = 0x4000;

const CALL: u64 = 1;
/** Bits 2 to 4: the location's lowest. */
const LOW_SHIFT = 2;
/** Operations lie at multiples of 32. */
const OPERATION: u32 = ~31;

// @ts-expect-error: decorator
@inline function isStack(sp: u64): bool {
  return <u32>(sp >> 32) == STACK_HI;
}
/** Bytes from the end of its stack down to an address. */
// @ts-expect-error: decorator
@inline function depthOf(lo: u32): u32 {
  return SLOT - (lo & (SLOT - 1));
}
// @ts-expect-error: decorator
@inline function depthCell(lo: u32): u32 {
  return load<u32>(DEPTHS) + ((lo >> SLOT_BITS) << 2);
}
/** Where the frame of an address on a stack is noted. */
// @ts-expect-error: decorator
@inline function frameAt(lo: u32): u32 {
  return load<u32>(FRAMES) + (lo >> SLOT_BITS) * STACK + ((lo & (STACK - 1)) & ~7);
}

/** A call has pushed `ret` at `sp`, where memory is. @param behind the operation behind it, for the return; or 0 */
// @ts-expect-error: decorator
@inline export function noteCall(sp: u64, ret: u64, behind: u32): void {
  if (!isStack(sp)) return;
  const lo = <u32>sp;
  const cell = depthCell(lo);
  const depth = depthOf(lo);
  // Frames at the same place or below were left without a return.
  if (load<u32>(cell) >= depth) clearBelow(lo, depth - 8);
  store<u32>(cell, depth);
  store<u64>(frameAt(lo), <u64>(<u32>ret) | (((<u64>behind) | ((lo & 7) << LOW_SHIFT) | CALL) << 32));
}

/**
 * A return has taken `target` from `sp`, where memory is, and left the stack pointer at `after`.
 * @returns the operation behind the call that pushed it, or 0
 */
// @ts-expect-error: decorator
@inline export function noteReturn(sp: u64, after: u64, target: u64): u32 {
  if (!isStack(sp)) return 0;
  const lo = <u32>sp;
  const frame = frameAt(lo);
  const noted = load<u64>(frame);
  const cell = depthCell(lo);
  const depth = depthOf(lo);
  if (after != sp + 8) noteStackPointer(after);
  else if (load<u32>(cell) == depth) {
    store<u64>(frame, 0);
    store<u32>(cell, depth - 8);
  } else if (load<u32>(cell) > depth - 8) clearBelow(lo, depth - 8); // it called others from further down
  const behind = <u32>(noted >> 32) & OPERATION;
  return behind != 0 && <u32>load<u16>(behind) == GOTO && load<u64>(behind, OP_IMM) == target ? behind : 0;
}

/** The stack pointer was set by a return: frames below it are gone. Nothing where nothing is noted. */
export function noteStackPointer(sp: u64): void {
  const lo = <u32>sp - 8;
  if (load<u32>(FRAMES) == 0 || !isStack(sp - 8) || ramOf(sp - 8) == 0xffffffff) return;
  const depth = depthOf(lo) - 8;
  if (load<u32>(depthCell(lo)) > depth) clearBelow(lo, depth);
}

/** Up to so many bytes are cleared one by one: to fill memory is a call of the engine's that costs more. */
const FEW: i32 = 512;

/** Forgets the frames of lo's stack that lie deeper than `depth`. */
function clearBelow(lo: u32, depth: u32): void {
  const cell = depthCell(lo);
  const end = load<u32>(FRAMES) + ((lo >> SLOT_BITS) + 1) * STACK;
  let frame = end - ((load<u32>(cell) + 7) & ~7);
  const whole = end - ((depth + 7) & ~7);
  if (<i32>(whole - frame) > FEW) memory.fill(frame, 0, whole - frame);
  else for (; frame < whole; frame += 8) store<u64>(frame, 0);
  // A stack pointer that is not aligned leaves a frame that is at or above it.
  if ((depth & 7) != 0 && ((load<u32>(whole, 4) >> LOW_SHIFT) & 7) < 8 - (depth & 7)) store<u64>(whole, 0);
  store<u32>(cell, depth);
}

/** Where modules and trampolines lie. */
const MODULES_VADDR: u64 = 0xffffffffc0000000;

/** Whether a trampoline may be there: text that is no part of the kernel's image. */
// @ts-expect-error: decorator
@inline export function isInModules(addr: u64): bool {
  return addr >= MODULES_VADDR;
}

/**
 * A trampoline was entered or left: `addr` is the return address or where the return led to.
 * @param target where the call led to. @param left of the budget before the block that did so
 * @returns whether there is no more room: the run is to end behind the block
 */
export function noteTrampoline(what: u32, addr: u64, target: u64, left: i32): bool {
  const sp = load<u64>(RSP);
  const count = load<u32>(NOTE_COUNT);
  const note = NOTES + count * NOTE_SIZE;
  const task = peek<u64>(load<u64>(GS_BASE) + <u64>(<i64>load<i32>(CURRENT_TASK)));
  store<u32>(note, what, NOTE_WHAT);
  store<i32>(note, isStack(sp) ? <i32>((<u32>sp - 1) >> SLOT_BITS) : -1, NOTE_SLOT);
  store<u32>(note, <u32>addr, NOTE_ADDRESS);
  store<i32>(note, left, NOTE_LEFT);
  store<u64>(note, task, NOTE_TASK);
  store<u32>(note, <u32>target, NOTE_TARGET);
  store<u32>(note, peek<u32>(task + load<u32>(TASK_STATE)), NOTE_STATE);
  store<u32>(NOTE_COUNT, count + 1);
  return count + 1 == NOTES_MOST;
}

/** Looks at memory as the context sees it, whatever its protection; 0 where there is none. */
// @ts-expect-error: decorator
@inline function peek<T>(addr: u64): T {
  const at = load<u32>(STORE_QUEUE) == 0 ? translated<T>(addr) : 0;
  return at != 0 ? load<T>(at) : <T>peekSlowly(addr);
}
function peekSlowly(addr: u64): u64 {
  const ram = ramOf(addr);
  if (ram == 0xffffffff || load<u8>(load<u32>(PAGES) + (ram >> 12)) == 0) return 0;
  const at = load<u32>(RAM) + ram;
  if (load<u32>(STORE_QUEUE) == 0) return load<u64>(at);
  let seen: u64 = 0;
  for (let i: u32 = 0; i < 8; i++) seen |= <u64>seenAt(at + i) << (i << 3);
  return seen;
}
