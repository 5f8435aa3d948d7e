// Stack traces of the machine's tasks, for livepatch, /proc and oopses, each held against the shadow
// stack where that is kept. Mirrors the callers of kernel/stacktrace.c.
//
// Invariant: with the shadow stack on, a trace that is called reliable equals the live frames, or the
// machine stops.

import { ptRegsOffset, ptRegsSize } from '../../arch/pt_regs.ts';
import type { PtRegs } from '../../arch/unwinders.ts';
import { type Addr, lo32, TEXT_HI } from '../../guest/addr.ts';
import type { Engine } from '../../guest/engine.ts';
import type { HostCall } from '../../guest/hostcall.ts';
import type { KernelCore } from '../../kernel/core.ts';
import type { TaskStruct } from '../../kernel/task_struct.ts';
import type { OrcLookup } from '../../unwind/orc_lookup.ts';
import { compareReliable, ShadowStacks } from '../../unwind/shadow.ts';
import { formatProcStack, MAX_STACK_ENTRIES, StackTrace } from '../../unwind/stacktrace.ts';
import type { Cpu } from '../cpu/cpu.ts';

/** The unwinder and the truth disagree, or a patch completed under a task that stands in it. */
export class GroundTruthError extends Error {
  readonly code = 'ETRUTH';
  constructor(message: string) {
    super(message);
    this.name = 'GroundTruthError';
  }
}

export class Traces {
  readonly stackTrace: StackTrace;
  /** Which text there is, with its tables. */
  readonly lookup: OrcLookup;
  readonly shadow: ShadowStacks | undefined;
  readonly #core: KernelCore;
  readonly #cpus: readonly Cpu[];
  /** Where the low half of the PC is in a register file. */
  readonly #pcWord: number;
  readonly #entries = new Uint32Array(MAX_STACK_ENTRIES);
  /** Told of each task whose stack is about to be checked. */
  onReliable: ((task: TaskStruct) => void) | undefined;
  /** Reliable traces held against the shadow stack, and frames in them. */
  compared = 0;
  frames = 0;

  constructor(
    core: KernelCore,
    engine: Engine,
    lookup: OrcLookup,
    { unwinder, shadow }: { readonly unwinder: string; readonly shadow: boolean },
    cpus: readonly Cpu[],
  ) {
    this.#core = core;
    this.lookup = lookup;
    this.#cpus = cpus;
    this.#pcWord = ptRegsOffset(core.arch.ptRegs, core.arch.ptRegs.pc) / 4;
    const arena = { words: core.mem.stackWords };
    const noted = core.arch.execution.notes?.(engine)?.frames;
    this.shadow = shadow ? new ShadowStacks(arena, core.arch.ptRegs, noted) : undefined;
    const [schedStart, schedEnd] = ['__sched_text_start', '__sched_text_end'].map((name) =>
      lo32(core.symbols.require(name)),
    );
    this.stackTrace = new StackTrace({
      arena,
      lookup,
      unwinder: core.arch.unwinders[unwinder],
      ptRegs: core.arch.ptRegs,
      retFromFork: lo32(core.symbols.require('ret_from_fork')),
      inSchedFunctions: (ip) => ip >= schedStart && ip < schedEnd,
    });
  }

  /** What `%pB` prints of a text address given by its low half. */
  symbolize(lo: number): string {
    return this.#core.symbols.formatReturn((BigInt(TEXT_HI) << 32n) | BigInt(lo >>> 0));
  }

  /**
   * stack_trace_save_tsk_reliable(): low halves of return addresses into `entries`, innermost first.
   * The caller's own stack is walked from its host call.
   * @returns their number or -errno. @throws GroundTruthError
   */
  saveReliable(task: TaskStruct, entries: Uint32Array, call: HostCall): number {
    this.onReliable?.(task);
    const own = task.onCpu !== 0 && task === this.#core.currentOf(call);
    const { stackTrace } = this;
    if (!own) {
      const count = stackTrace.stackTraceSaveTskReliable(task, entries);
      if (count >= 0 && this.shadow)
        this.#check(task, entries, count, task.spLo + this.#core.arch.threads.firstReturn);
      return count;
    }
    const regs = this.cpuRegs(this.#cpus[call.cpu]);
    const count = stackTrace.stackTraceSaveCurrentReliable(task, regs, entries);
    if (count >= 0 && this.shadow) this.#check(task, entries, count, lo32(call.sp), regs[this.#pcWord]);
    return count;
  }

  /** Return addresses on the stack of the task that made a host call, innermost first, as far as they are text. */
  *callers(call: HostCall): Generator<Addr> {
    const { unwinder } = this.stackTrace;
    unwinder.startCurrent(this.#core.currentOf(call), this.cpuRegs(this.#cpus[call.cpu]));
    for (; !unwinder.done; unwinder.next()) {
      const lo = unwinder.returnAddress();
      if (lo === 0) return;
      yield (BigInt(TEXT_HI) << 32n) | BigInt(lo);
    }
  }

  #check(task: TaskStruct, entries: Uint32Array, count: number, sp: number, ip?: number): void {
    if (task.stackSlot < 0) return;
    const frames = (this.shadow as ShadowStacks).frames(task.stackSlot, sp).map((f) => f.address);
    const truth = Uint32Array.from(ip === undefined ? frames : [ip, ...frames]);
    const difference = compareReliable(entries, count, truth, (addr) =>
      this.#core.symbols.formatReturn(addr),
    );
    if (difference) throw new GroundTruthError(`reliable trace of ${task}: ${difference}`);
    this.compared++;
    this.frames += count;
  }

  /** The registers of a CPU in the layout of struct pt_regs. */
  cpuRegs(cpu: Cpu): PtRegs {
    const { ptRegs, context } = this.#core.arch;
    const regs = new Uint32Array(ptRegsSize(ptRegs) / 4);
    context.save(cpu.context, regs);
    return regs;
  }

  /** No call made a new task's first frame: it is the return address of the frame that is switched to. */
  firstFrame(task: TaskStruct): void {
    const { firstReturn } = this.#core.arch.threads;
    this.shadow?.fork(task.spLo + firstReturn, lo32(this.#core.symbols.require('ret_from_fork')));
  }

  /** Lines as /proc/PID/stack has them; of a task that is executed, from where the CPU was stopped: none in user mode. */
  format(task: TaskStruct): string[] {
    const { symbols } = this.#core;
    if (!task.onCpu) {
      const count = this.stackTrace.stackTraceSaveTsk(task, this.#entries);
      return lines(formatProcStack(this.#entries, count, (addr) => symbols.formatReturn(addr)));
    }
    const cpu = this.#cpus.find(({ id }) => this.#core.current(id) === task);
    const regs = cpu && this.cpuRegs(cpu);
    if (!regs || this.#isUser(regs)) return [];
    const count = this.stackTrace.stackTraceSaveRegs(task, regs, this.#entries);
    // The first is an instruction, the others are behind calls.
    let isFirst = true;
    const symbolize = (addr: bigint): string => {
      const text = isFirst ? symbols.format(addr) : symbols.formatReturn(addr);
      isFirst = false;
      return text;
    };
    return lines(formatProcStack(this.#entries, count, symbolize));
  }

  #isUser(regs: PtRegs): boolean {
    const { ptRegs } = this.#core.arch;
    return ptRegs.mode.isUser(regs[ptRegsOffset(ptRegs, ptRegs.mode.word) / 4]);
  }

  wchan(task: TaskStruct): string | undefined {
    const lo = this.stackTrace.getWchan(task);
    return lo === 0 ? undefined : this.#core.symbols.nameOf((BigInt(TEXT_HI) << 32n) | BigInt(lo));
  }
}

const lines = (text: string): string[] => text.split('\n').filter(Boolean);
