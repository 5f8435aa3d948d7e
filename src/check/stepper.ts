// Runs a machine one kernel instruction at a time, and after each holds the unwinder's answer, from the
// live registers, against the shadow stack.
//
// Invariant: `wrong` is what must stay empty; `unreliable` is what the unwinder itself gives up on.

import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { lo32 } from '../guest/addr.ts';
import { packageRoot } from '../guest/package_root.ts';
import type { TaskStruct } from '../kernel/task_struct.ts';
import type { Cpu } from '../machine/cpu/cpu.ts';
import { Machine, type MachineOptions } from '../machine/machine.ts';
import { compareReliable, type ShadowStacks } from '../unwind/shadow.ts';
import { MAX_STACK_ENTRIES } from '../unwind/stacktrace.ts';
import { PC, SP } from './target.ts';
import type { Verdict } from './verdicts.ts';

const MODULES = join(packageRoot(), 'fixtures/modules');
const MODULE_NAMES = [
  'klpdemo_target',
  'klpdemo_patch_target',
  'klpdemo_patch_both',
  'klpdemo_patch_vmlinux',
  'klpdemo_heap',
  'klpdemo_locks',
  'klpdemo_fault',
];
/** Instructions of a task that never enters the kernel by itself, executed at a time. */
const SPIN_CHUNK = 1000;
const TEXT = 0xffffffff00000000n;

/** A machine whose file system holds the demo's modules: /klpdemo_target.ko and the patches. */
export async function bootWithModules(options: MachineOptions = {}): Promise<Machine> {
  const machine = await Machine.boot(options);
  for (const name of MODULE_NAMES) {
    machine.addFile(`/${name}.ko`, readFileSync(join(MODULES, `${name}.ko`)));
  }
  return machine;
}

interface Place {
  /** Function, or `trampoline`. */
  readonly name: string;
  readonly offset: number;
}

export class Stepper {
  readonly machine: Machine;
  /** Kernel instructions after which trace and truth were the same, by function. */
  readonly compared = new Map<string, number>();
  /** Walks that the unwinder itself called unreliable: `function: reason`, and how often. */
  readonly unreliable = new Map<string, number>();
  /** Traces called reliable that are not the truth. */
  readonly wrong: string[] = [];
  /** Live frames seen under an interrupt's registers while another interrupt's were above. */
  nested = 0;
  /** Told of each comparison: low half of the address, what came of it, and why where it is not right. */
  observe: ((lo: number, verdict: Verdict, why: string) => void) | undefined;
  readonly #entries = new Uint32Array(MAX_STACK_ENTRIES);
  readonly #places = new Map<number, Place>();

  constructor(machine: Machine) {
    this.machine = machine;
    machine.events.subscribe((e) => {
      if (e.type === 'module' || e.type === 'ftrace') this.#places.clear();
    });
  }

  get shadow(): ShadowStacks {
    return this.machine.inspect.traces.shadow as ShadowStacks;
  }

  /** Function and offset of a text address given by its low half. */
  place(lo: number): Place {
    let found = this.#places.get(lo);
    if (!found) {
      found = this.#lookup(TEXT | BigInt(lo >>> 0));
      this.#places.set(lo, found);
    }
    return found;
  }

  #lookup(addr: bigint): Place {
    const { core, ftrace } = this.machine.inspect;
    const trampoline = ftrace.trampolines.at(addr);
    if (trampoline) return { name: 'trampoline', offset: Number(addr - trampoline.start) };
    const symbol = core.symbols.lookup(addr);
    return symbol ? { name: symbol.name, offset: symbol.offset } : { name: '?', offset: 0 };
  }

  /** One instruction of a CPU (many of a program that only computes), and the comparison. */
  step(cpu: Cpu): void {
    const spins = cpu.context.userMode && this.machine.inspect.core.current(cpu.id).comm === 'spin';
    this.machine.inspect.loop.runCpu(cpu, spins && !interruptComes(cpu) ? SPIN_CHUNK : 1);
    if (!cpu.context.userMode && !cpu.halted) this.compare(cpu);
  }

  /** The CPU whose turn it is; when all are halted the first one wakes for the next timer. */
  next(): Cpu | undefined {
    const { smp, timers } = this.machine.inspect;
    const cpu = smp.next();
    if (cpu) return cpu;
    const due = timers.next();
    if (due === undefined) return undefined;
    smp.advanceTo(due);
    const [first] = smp.cpus;
    first.halted = false;
    first.tickPending = true;
    first.nextTick = (Math.floor(first.clock / timers.tickNs) + 1) * timers.tickNs;
    return first;
  }

  /** Steps all CPUs in the order of their clocks until the condition holds. @returns whether it does. */
  until(condition: () => boolean, maxSteps = 300_000): boolean {
    for (let i = 0; i < maxSteps && !condition(); i++) {
      const cpu = this.next();
      if (!cpu) break;
      this.step(cpu);
    }
    return condition();
  }

  /** Steps until the task has ended. @returns its exit status. */
  toEnd(task: TaskStruct): number | undefined {
    this.until(() => this.machine.exitStatus(task) !== undefined);
    return this.machine.exitStatus(task);
  }

  /** Live addresses of the stack that the CPU is on, where it executes first. Low halves. */
  truth(cpu: Cpu): number[] {
    const { halves } = cpu.context;
    const frames = this.shadow.frames(cpu.stackSlot(), halves[SP]);
    return [halves[PC], ...frames.map((f) => f.address)];
  }

  /** Walks from the CPU's live registers and compares. */
  compare(cpu: Cpu): void {
    const { name } = this.place(cpu.context.halves[PC]);
    const slot = cpu.stackSlot();
    const lo = cpu.context.halves[PC];
    if (slot < 0) {
      count(this.unreliable, `${name}: on the user's stack`);
      this.observe?.(lo, 'wrong, declared unreliable', "on the user's stack");
      return;
    }
    const { traces } = this.machine.inspect;
    const stack = { stackSlot: slot, onCpu: 1, spLo: 0 };
    const regs = traces.cpuRegs(cpu);
    const entries = this.#entries;
    const n = traces.stackTrace.stackTraceSaveRegsReliable(stack, regs, entries);
    if (n < 0) {
      const said = traces.stackTrace.explainRegsReliable(stack, regs);
      const where = (hex: string) => this.place(lo32(BigInt(hex))).name;
      const why = said.ok ? '' : said.reason.replaceAll(/0x[0-9a-f]+/g, where);
      count(this.unreliable, `${name}: ${why}`);
      this.observe?.(lo, 'wrong, declared unreliable', why);
      return;
    }
    const difference = compareReliable(
      entries,
      n,
      Uint32Array.from(this.truth(cpu)),
      this.machine.inspect.core.sym,
    );
    this.observe?.(lo, difference ? 'wrong, declared reliable' : 'right', difference ?? '');
    if (difference) this.wrong.push(`${this.machine.inspect.core.sym(cpu.pc)}: ${difference}`);
    else count(this.compared, name);
    const interrupts = this.shadow.frames(slot, cpu.context.halves[SP]).filter((f) => f.kind === 'regs');
    if (interrupts.length > 1) this.nested++;
  }

  /** Instructions compared in all. */
  get total(): number {
    return sum(this.compared.values());
  }
}

/** Does the CPU take an interrupt before its next instruction, if it may? */
export function interruptComes(cpu: Cpu): boolean {
  return cpu.tickPending || cpu.reschedulePending || cpu.clock >= cpu.nextTick;
}

export function count<K>(map: Map<K, number>, key: K): void {
  map.set(key, (map.get(key) ?? 0) + 1);
}

export function sum(numbers: Iterable<number>): number {
  let total = 0;
  for (const n of numbers) total += n;
  return total;
}
