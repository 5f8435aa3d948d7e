// Preempts a task at every kernel instruction where it can be, once for each different stack: a tick
// comes, another task runs, and the trace of the one that waits is held against the truth.

import { lo32 } from '../guest/addr.ts';
import type { HostCall } from '../guest/hostcall.ts';
import type { TaskStruct } from '../kernel/task_struct.ts';
import { UAPI } from '../kernel/uapi.ts';
import type { Cpu } from '../machine/cpu/cpu.ts';
import type { Machine } from '../machine/machine.ts';
import { GroundTruthError } from '../machine/truth/traces.ts';
import { compareReliable } from '../unwind/shadow.ts';
import { MAX_STACK_ENTRIES } from '../unwind/stacktrace.ts';
import { count, interruptComes, Stepper } from './stepper.ts';
import { FRAMES, PC, TARGET } from './target.ts';

/** Fewer instructions than the way back from an interrupt takes. */
const CHUNK = 12;
const USER_CHUNK = 10_000;
/** The draw may fall on the same task again, once in eight times. */
const MAX_TICKS = 40;
const PREEMPT_COUNT = 0x7fffffff;

/** Where on the way through a function an instruction stands. */
type Position =
  | 'first instruction of a function'
  | 'first instruction after the fentry call'
  | 'first instruction after the fentry nop'
  | 'prologue'
  | 'epilogue'
  | 'return'
  | 'body';

export interface Preemption {
  /** Low half of the address. */
  readonly lo: number;
  /** Function, or `trampoline`. */
  readonly name: string;
  readonly offset: number;
  readonly position: Position;
  /** The trace's verdict: undefined when reliable, and then it was equal to the truth. */
  readonly unreliable: string | undefined;
  /** How a trace that was called reliable differs from the truth. */
  readonly wrong: string | undefined;
  /** Functions of the whole stack, innermost first, from where it was preempted. */
  readonly stack: readonly string[];
  /** Functions of the reliable trace from the switch down to there. */
  readonly above: readonly string[];
}

export class Preempter {
  readonly stepper: Stepper;
  readonly machine: Machine;
  readonly preemptions: Preemption[] = [];
  /** Ticks taken with preemption off: the task went on. */
  declined = 0;
  readonly wrong: string[] = [];
  readonly #seen = new Set<string>();
  readonly #entries = new Uint32Array(MAX_STACK_ENTRIES);
  readonly #other: TaskStruct;

  /** The machine has one CPU. */
  constructor(machine: Machine) {
    this.machine = machine;
    this.stepper = new Stepper(machine);
    this.#other = machine.spawn('spin');
  }

  /** Lets the machine run until the condition holds, the task preempted wherever it can be. */
  run(task: TaskStruct, condition: () => boolean, maxSteps = 1_000_000): boolean {
    for (let i = 0; i < maxSteps && !condition(); i++) {
      const cpu = this.stepper.next();
      if (!cpu) break;
      if (cpu.context.userMode) this.#user(cpu, task);
      else if (this.#isOn(cpu, task)) this.#kernel(cpu, task);
      else this.machine.inspect.loop.runCpu(cpu, 1);
    }
    return condition();
  }

  #isOn(cpu: Cpu, task: TaskStruct): boolean {
    return task.onCpu === 1 && cpu.stackSlot() === task.stackSlot;
  }

  #user(cpu: Cpu, task: TaskStruct): void {
    const other = this.machine.inspect.core.current(cpu.id) === this.#other;
    // Only a tick takes the CPU from the other task: let it come.
    if (other && task.onRq) cpu.tickPending = true;
    this.machine.inspect.loop.runCpu(cpu, other && !interruptComes(cpu) ? USER_CHUNK : 1);
  }

  #kernel(cpu: Cpu, task: TaskStruct): void {
    if (cpu.processor.interruptsOn && !interruptComes(cpu) && this.#other.onRq) {
      const truth = this.stepper.truth(cpu);
      const seen = this.#seen.size;
      if (this.#seen.add(truth.join()).size > seen) this.#interrupt(cpu, task, truth);
    }
    this.machine.inspect.loop.runCpu(cpu, 1);
  }

  /** Ticks until the draw falls on the other task; returns when the task stands again where it was. */
  #interrupt(cpu: Cpu, task: TaskStruct, truth: readonly number[]): void {
    const { core } = this.machine.inspect;
    const held = (core.percpu.readU32('__preempt_count', cpu.id) & PREEMPT_COUNT) !== 0;
    if (held) {
      if (this.#tick(cpu, task, truth)) this.wrong.push(`${core.sym(cpu.pc)}: preempted with preemption off`);
      this.declined++;
      return;
    }
    let ticks = 1;
    while (!this.#tick(cpu, task, truth)) {
      if (ticks++ === MAX_TICKS) {
        this.wrong.push(`${core.sym(cpu.pc)}: not preempted by ${MAX_TICKS} ticks`);
        return;
      }
    }
  }

  /** One tick. @returns whether another task ran before it was over. */
  #tick(cpu: Cpu, task: TaskStruct, truth: readonly number[]): boolean {
    const position = positionOf(this.machine, cpu);
    const [pc, sp] = [cpu.pc, cpu.sp];
    let left = false;
    cpu.tickPending = true;
    do {
      this.#advance(cpu, task);
      if (!left && task.onCpu === 0) {
        left = true;
        this.#check(cpu, task, truth, position);
      }
    } while (cpu.pc !== pc || cpu.sp !== sp || cpu.context.userMode || task.onCpu === 0);
    return left;
  }

  #advance(cpu: Cpu, task: TaskStruct): void {
    if (cpu.context.userMode) this.#user(cpu, task);
    else {
      const { name } = this.stepper.place(cpu.context.halves[PC]);
      const leaving = task.onCpu === 1 && (name === 'error_return' || name.startsWith('restore_regs'));
      this.machine.inspect.loop.runCpu(cpu, leaving ? 1 : CHUNK);
    }
  }

  #check(cpu: Cpu, task: TaskStruct, truth: readonly number[], position: Position): void {
    const { traces, core } = this.machine.inspect;
    const stack = truth.map((lo) => this.stepper.place(lo).name);
    const { name, offset } = this.stepper.place(truth[0]);
    const call = { cpu: cpu.id, args: [], sp: 0n, caller: 0n };
    const n = traces.stackTrace.stackTraceSaveTskReliable(task, this.#entries);
    const wrong = n < 0 ? undefined : this.#difference(task, call);
    let unreliable: string | undefined;
    let above: string[] = [];
    if (n < 0) {
      const said = traces.stackTrace.explainTskReliable(task, (addr) => this.stepper.place(lo32(addr)).name);
      unreliable = said.ok ? '?' : said.reason;
    } else {
      const tail = this.#entries.slice(n - truth.length, n);
      above = [...this.#entries.subarray(0, n - truth.length)].map((lo) => this.stepper.place(lo - 1).name);
      const difference = compareReliable(tail, tail.length, Uint32Array.from(truth), core.sym);
      if (difference) this.wrong.push(`${core.sym(BigInt(truth[0]))}: ${difference}`);
    }
    if (task.onRq !== 1) this.wrong.push(`${name}: preempted and not queued`);
    const lo = truth[0];
    this.preemptions.push({ lo, name, offset, position, unreliable, wrong, stack, above });
  }

  /** The whole of a reliable trace, from the switch down, held against the shadow stack. */
  #difference(task: TaskStruct, call: HostCall): string | undefined {
    try {
      this.machine.inspect.traces.saveReliable(task, this.#entries, call);
      return undefined;
    } catch (error) {
      if (!(error instanceof GroundTruthError)) throw error;
      this.wrong.push(error.message);
      return error.message;
    }
  }

  /** Ends the task that takes the CPU. */
  close(): void {
    this.machine.inspect.exit.sendSignal(this.#other, UAPI.SIGKILL);
  }

  /** Preemptions by a property of theirs. */
  by(property: (p: Preemption) => string): Map<string, number> {
    const counts = new Map<string, number>();
    for (const preemption of this.preemptions) count(counts, property(preemption));
    return counts;
  }
}

/** What the instruction that comes next is, in its function. */
function positionOf(machine: Machine, cpu: Cpu): Position {
  const { mem, symbols } = machine.inspect.core;
  const { fentry } = TARGET;
  const { pc } = cpu;
  const before = mem.isMapped(pc - 8n, 8) ? mem.readBytes(pc - 8n, 8) : new Uint8Array(8);
  if (symbols.lookup(pc)?.offset === 0) return 'first instruction of a function';
  const site = pc - BigInt(fentry.size);
  if (machine.inspect.ftrace.records.at(site) !== undefined) {
    const calls = fentry.target(site, mem.readBytes(site, fentry.size)) !== undefined;
    return `first instruction after the fentry ${calls ? 'call' : 'nop'}`;
  }
  const code = mem.readBytes(pc, mem.isMapped(pc, TARGET.longestInsn) ? TARGET.longestInsn : 3);
  if (FRAMES.returns(code, pc, (name) => symbols.require(name))) {
    return FRAMES.hasPopped(before) ? 'return' : 'body';
  }
  if (FRAMES.makesFrame(code)) return 'prologue';
  return FRAMES.pops(code) ? 'epilogue' : 'body';
}
