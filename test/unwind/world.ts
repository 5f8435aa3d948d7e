import { expect } from 'vitest';
import { PT_REGS } from '../../src/arch/x86_64/pt_regs.ts';
import { UNWINDERS, type UnwinderKind } from '../../src/arch/x86_64/unwind/unwinders.ts';
import { UAPI } from '../../src/kernel/uapi.ts';
import { OrcLookup } from '../../src/unwind/orc_lookup.ts';
import { StackTrace } from '../../src/unwind/stacktrace.ts';
import { ORC, StackBuilder, TestArena, TestTask } from './stack_builder.ts';
import { TestText } from './text.ts';

/** A machine with image text and one task stack (slot 1 of 3, so that neighbours exist). */
export class World {
  readonly arena = new TestArena(3);
  readonly lookup = new OrcLookup();
  readonly text = new TestText();
  readonly task = new TestTask(1);
  readonly entries = new Uint32Array(100);
  readonly retFromFork = this.text.frame(ORC.end());
  readonly syscallEntry = this.text.frame(ORC.regs());
  readonly trace: StackTrace;

  constructor(unwinder: UnwinderKind = 'orc', inSchedFunctions?: (ip: number) => boolean) {
    const { arena, lookup } = this;
    const retFromFork = this.retFromFork.ip;
    this.trace = new StackTrace({
      arena,
      lookup,
      unwinder: UNWINDERS[unwinder],
      ptRegs: PT_REGS,
      retFromFork,
      ...(inSchedFunctions === undefined ? {} : { inSchedFunctions }),
    });
  }

  /** A stack of a user task inside a system call. */
  userStack(): StackBuilder {
    return new StackBuilder(this.arena, 1).taskRegs(true).outermost(this.syscallEntry);
  }

  kthreadStack(): StackBuilder {
    return new StackBuilder(this.arena, 1).taskRegs(false).outermost(this.retFromFork);
  }

  /** The reliable trace, as a plain array, or the reason why there is none. */
  walk(): number[] | string {
    const result = this.trace.stackTraceSaveTskReliable(this.task, this.entries);
    if (result >= 0) return [...this.entries.subarray(0, result)];
    expect(result).toBe(-UAPI.EINVAL);
    const explained = this.trace.explainTskReliable(this.task, (ip) => ip.toString(16));
    return explained.ok ? 'explained as reliable' : explained.reason;
  }
}
