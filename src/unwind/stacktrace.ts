// The stack traces that the rest of the kernel asks for, the reliable one of livepatch among them.
// Mirrors arch/x86/kernel/stacktrace.c, kernel/stacktrace.c and get_wchan() of arch/x86/kernel/process.c.
//
// Invariant: a trace that is called reliable was walked to a known end with every frame accounted for.

import { type PtRegsLayout, ptRegsOffset } from '../arch/pt_regs.ts';
import type { PtRegs, Unwinder, UnwinderPort, UnwindSource, UnwindTask } from '../arch/unwinders.ts';
import { UAPI } from '../kernel/uapi.ts';
import * as state from './unwind_state.ts';
import { FAILURE_TEXT, NONE } from './unwind_state.ts';

const { EINVAL, ENOSYS } = UAPI;

/** The size of the entries array that klp_check_stack() uses; a trace that fills it fails. */
export const MAX_STACK_ENTRIES = 100;

interface StackTraceOptions extends UnwindSource {
  readonly unwinder: UnwinderPort;
  readonly ptRegs: PtRegsLayout;
  /** in_sched_functions() of an address given by its low 32 bits (unsigned). */
  readonly inSchedFunctions?: (ip: number) => boolean;
}

type ReliableTrace =
  | { readonly ok: true; readonly entries: readonly bigint[] }
  | {
      readonly ok: false;
      readonly errno: number;
      /** In words, `ip` symbolised if a symbolizer was given. */
      readonly reason: string;
      /** Where the walk stood. */
      readonly ip: bigint;
      /** How many entries had been found. */
      readonly frame: number;
      readonly entries: readonly bigint[];
    };

export class StackTrace {
  /** klp_have_reliable_stack(): whether this architecture has reliable stack traces at all. */
  readonly haveReliableStack: boolean;
  /** The walker itself, for stack dumps. A walk belongs to whoever started it last. */
  readonly unwinder: Unwinder;
  private readonly byFrames: boolean;
  /** Words of struct pt_regs. */
  private readonly pc: number;
  private readonly mode: number;
  private readonly isUser: (low: number) => boolean;
  private readonly inSchedFunctions: (ip: number) => boolean;
  private stored = 0;

  constructor(options: StackTraceOptions) {
    const { unwinder, ptRegs } = options;
    this.haveReliableStack = unwinder.reliable;
    this.byFrames = unwinder.byFrames;
    this.unwinder = unwinder.make(options);
    this.pc = ptRegsOffset(ptRegs, ptRegs.pc) >> 2;
    this.mode = ptRegsOffset(ptRegs, ptRegs.mode.word) >> 2;
    this.isUser = ptRegs.mode.isUser;
    this.inSchedFunctions = options.inSchedFunctions ?? (() => false);
  }

  /**
   * stack_trace_save_tsk_reliable() for a task that is switched out: the number of entries (low 32 bits
   * of return addresses, innermost first), or -EINVAL; -ENOSYS without a reliable unwinder.
   */
  stackTraceSaveTskReliable(task: UnwindTask, entries: Uint32Array): number {
    if (!this.haveReliableStack) return -ENOSYS;
    this.stored = 0;
    if (task.stackSlot < 0) return 0;
    this.unwinder.startInactive(task);
    return this.archStackWalkReliable(entries);
  }

  /** As if the task were interrupted where `regs` stand: their ip, then the frames, by the same rules. */
  stackTraceSaveRegsReliable(task: UnwindTask, regs: PtRegs, entries: Uint32Array): number {
    if (!this.haveReliableStack) return -ENOSYS;
    this.stored = 0;
    const { unwinder } = this;
    unwinder.startRegs(task, regs);
    if (this.isUser(regs[this.mode])) return 0;
    if (this.byFrames) {
      return this.fail(state.FAIL_KERNEL_REGS, regs[this.pc], regs[this.pc + 1]);
    }
    return this.reliableFrom(regs, entries);
  }

  /**
   * stack_trace_save_tsk_reliable() of the task that asks: the ip of `regs`, then the frames. It stands in a
   * function of its own choice, with a frame where frames are kept, so its registers are no interrupt's.
   */
  stackTraceSaveCurrentReliable(task: UnwindTask, regs: PtRegs, entries: Uint32Array): number {
    if (!this.haveReliableStack) return -ENOSYS;
    this.stored = 0;
    if (!this.byFrames) return this.stackTraceSaveRegsReliable(task, regs, entries);
    this.unwinder.startCurrent(task, regs);
    return this.reliableFrom(regs, entries);
  }

  private reliableFrom(regs: PtRegs, entries: Uint32Array): number {
    const ipLo = regs[this.pc];
    const ipHi = regs[this.pc + 1];
    if (ipHi !== 0xffffffff || !this.unwinder.lookup.kernelTextAddress(ipLo)) {
      return this.fail(state.FAIL_NOT_TEXT, ipLo, ipHi);
    }
    if (entries.length <= 1) return this.fail(state.FAIL_FULL);
    entries[0] = ipLo;
    this.stored = 1;
    return this.archStackWalkReliable(entries);
  }

  /** stackTraceSaveTskReliable() that says why and where it failed; for reports, not for speed. */
  explainTskReliable(task: UnwindTask, symbolize: (addr: bigint) => string = hexAddress): ReliableTrace {
    const entries = new Uint32Array(MAX_STACK_ENTRIES);
    const result = this.stackTraceSaveTskReliable(task, entries);
    return this.explain(result, entries, symbolize);
  }

  /** stackTraceSaveRegsReliable() that says why and where it failed. */
  explainRegsReliable(
    task: UnwindTask,
    regs: PtRegs,
    symbolize: (addr: bigint) => string = hexAddress,
  ): ReliableTrace {
    const entries = new Uint32Array(MAX_STACK_ENTRIES);
    const result = this.stackTraceSaveRegsReliable(task, regs, entries);
    return this.explain(result, entries, symbolize);
  }

  /**
   * stack_trace_save_tsk(), which /proc/PID/stack prints: scheduler functions are left out. `current`: the
   * registers of a task that executes, taken as those of a function that asks for its own trace.
   */
  stackTraceSaveTsk(task: UnwindTask, entries: Uint32Array, skip = 0, current?: PtRegs): number {
    if (task.stackSlot < 0) return 0;
    const { unwinder } = this;
    if (current === undefined) {
      unwinder.startInactive(task);
      return this.archStackWalk(entries, 0, skip, true);
    }
    unwinder.startCurrent(task, current);
    // A frame says where its caller stands, so who asks is not in one.
    const ownIp = this.byFrames && entries.length > 0;
    if (ownIp && skip === 0) entries[0] = current[this.pc];
    return this.archStackWalk(
      entries,
      ownIp && skip === 0 ? 1 : 0,
      Math.max(0, skip - (ownIp ? 1 : 0)),
      true,
    );
  }

  /** stack_trace_save_regs(): the registers' ip, then the frames. */
  stackTraceSaveRegs(task: UnwindTask, regs: PtRegs, entries: Uint32Array, skip = 0): number {
    if (entries.length === 0) return 0;
    if (skip === 0) entries[0] = regs[this.pc];
    const stored = skip === 0 ? 1 : 0;
    if (stored >= entries.length) return stored;
    this.unwinder.startRegs(task, regs);
    return this.archStackWalk(entries, stored, Math.max(skip - 1, 0), false);
  }

  /** get_wchan(): the innermost return address outside the scheduler, low 32 bits; 0 for none. */
  getWchan(task: UnwindTask): number {
    if (task.stackSlot < 0 || task.onCpu !== 0) return 0;
    const unwinder = this.unwinder;
    for (unwinder.startInactive(task); !unwinder.done; unwinder.next()) {
      const addr = unwinder.returnAddress();
      // 0, of what is no text, too.
      if (!this.inSchedFunctions(addr)) return addr;
    }
    return 0;
  }

  private archStackWalkReliable(entries: Uint32Array): number {
    const unwinder = this.unwinder;
    const size = entries.length;
    let stored = this.stored;
    while (!unwinder.done && !unwinder.error) {
      if (unwinder.regs !== NONE) {
        // Registers of user mode are the one end that a user task's stack can have.
        if (unwinder.userMode()) return stored;
        // Interrupted code may have been about to set up its frame, and then the caller's is missed.
        if (this.byFrames) return this.fail(state.FAIL_KERNEL_REGS);
      }
      const addr = unwinder.returnAddress();
      if (addr === 0) return this.fail(state.FAIL_NOT_TEXT);
      if (stored >= size) return this.fail(state.FAIL_FULL);
      entries[stored++] = addr;
      this.stored = stored;
      if (stored >= size) return this.fail(state.FAIL_FULL);
      unwinder.next();
    }
    return unwinder.error ? -EINVAL : stored;
  }

  private archStackWalk(entries: Uint32Array, from: number, skip: number, nosched: boolean): number {
    const unwinder = this.unwinder;
    let stored = from;
    let toSkip = skip;
    for (; !unwinder.done; unwinder.next()) {
      const addr = unwinder.returnAddress();
      if (addr === 0) break;
      if (nosched && this.inSchedFunctions(addr)) continue;
      if (stored >= entries.length) break;
      if (toSkip > 0) {
        toSkip--;
        continue;
      }
      entries[stored++] = addr;
      if (stored >= entries.length) break;
    }
    return stored;
  }

  private fail(failure: number, ipLo = this.unwinder.ipLo, ipHi = this.unwinder.ipHi): number {
    this.unwinder.fail(failure, ipLo, ipHi);
    return -EINVAL;
  }

  private explain(result: number, raw: Uint32Array, symbolize: (addr: bigint) => string): ReliableTrace {
    const unwinder = this.unwinder;
    const entries = Array.from(raw.subarray(0, Math.max(result, this.stored)), kernelText);
    if (result >= 0) return { ok: true, entries };
    const text = this.haveReliableStack ? unwinder.failureText() : FAILURE_TEXT[state.FAIL_UNSUPPORTED];
    const ip = (BigInt(unwinder.failedHi >>> 0) << 32n) | BigInt(unwinder.failedLo >>> 0);
    const reason = text.replace('%s', symbolize(ip));
    return { ok: false, errno: -result, reason, ip, frame: entries.length, entries };
  }
}

/** The full address of text given by its low 32 bits. */
export function kernelText(lo: number): bigint {
  return 0xffffffff00000000n | BigInt(lo >>> 0);
}

/** /proc/PID/stack: one line an entry. */
export function formatProcStack(
  entries: Uint32Array,
  count: number,
  symbolize: (addr: bigint) => string,
): string {
  let text = '';
  for (let i = 0; i < count; i++) text += `[<0>] ${symbolize(kernelText(entries[i]))}\n`;
  return text;
}

const hexAddress = (addr: bigint): string => `0x${addr.toString(16)}`;
