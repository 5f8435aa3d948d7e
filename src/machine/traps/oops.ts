// What the kernel prints of an oops, a warning and a panic, and who pays for it.
// Mirrors oops_begin() to oops_end() of an architecture's dumpstack.c, kernel/panic.c and lib/dump_stack.c.
//
// Invariant: an oops ends the task that had it and nothing else, unless it held up an interrupt; a panic ends the
// machine, which runs no instruction after it.

import { ptRegsOffset, ptRegsSize, readPtReg } from '../../arch/pt_regs.ts';
import type { SystemState } from '../../arch/show_regs.ts';
import type { DieOptions } from '../../arch/traps.ts';
import type { PtRegs } from '../../arch/unwinders.ts';
import { type Addr, isKernelAddress, isUserRange } from '../../guest/addr.ts';
import type { KernelCore } from '../../kernel/core.ts';
import { buildFlags } from '../../kernel/description.ts';
import { preemptCount } from '../../kernel/preempt_count.ts';
import { KERN_DEFAULT, KERN_WARNING } from '../../kernel/printk.ts';
import { holds } from '../../kernel/release.ts';
import { debugLocksOff, printTainted, taintNames } from '../../kernel/taint.ts';
import type { TaskStruct } from '../../kernel/task_struct.ts';
import type { ModuleList } from '../../module/modules.ts';
import { printModules } from '../../module/procfs.ts';
import type { Workqueue } from '../../sched/workqueue.ts';
import { type DumpOptions, showOpcodes, showRegs, showTrace } from '../../unwind/dumpstack.ts';
import type { StackTrace } from '../../unwind/stacktrace.ts';
import type { Cpu } from '../cpu/cpu.ts';
import { DUMPS } from './since.ts';
import type { UnsetObject } from './unset_object.ts';

/** init_utsname()->release and the first word of version. */
/** `6.1.0-56-amd64 #1` */
export const kernelVersion = ({ kernel }: KernelCore): string => `${kernel.release} #1`;
/** preempt_model_str() of Debian's, which boots so. */
const PREEMPT_MODEL = 'PREEMPT(lazy) ';
const END_TRACE = '---[ end trace 0000000000000000 ]---';

/** The guest kernel has stopped for good: its log says why. */
export class GuestPanic extends Error {
  readonly code = 'EPANIC';
  /** @param where the task and the function that the CPU was in, for who does not read the log. */
  constructor(message: string, where: string) {
    super(`Kernel panic - not syncing: ${message} (${where})`);
    this.name = 'GuestPanic';
  }
}

/** kernel.oops_limit */
const OOPS_LIMIT = 10_000;

/** The register file that an oops is about. */
interface OopsSite {
  readonly cpu: number;
  readonly regs: PtRegs;
}

export class Oops {
  readonly #core: KernelCore;
  readonly #cpus: readonly Cpu[];
  readonly #modules: ModuleList;
  readonly #stackTrace: StackTrace;
  readonly #workqueue: Workqueue;
  /** Where a real kernel is under the machine. */
  readonly #unset: UnsetObject | undefined;
  #dieCounter = 0;
  /** Tasks that an oops has ended; from the limit's on the kernel panics, where the limit is not 0. */
  #ended = 0;
  /** Written by users: an unsigned int. */
  limit = OOPS_LIMIT;
  /** exec_summary_regs: those of the first oops, printed again after every one. */
  #summary: PtRegs | undefined;
  /** Set once the kernel has panicked. */
  panicked: GuestPanic | undefined;

  constructor(
    core: KernelCore,
    cpus: readonly Cpu[],
    modules: ModuleList,
    stackTrace: StackTrace,
    workqueue: Workqueue,
    unset: UnsetObject | undefined,
  ) {
    this.#core = core;
    this.#unset = unset;
    this.#cpus = cpus;
    this.#modules = modules;
    this.#stackTrace = stackTrace;
    this.#workqueue = workqueue;
    core.host.define('show_stack_log_lvl', ({ cpu }) => this.dumpStack(cpu));
  }

  /** A struct pt_regs of the guest. */
  regsAt(regs: Addr): PtRegs {
    const bytes = this.#core.mem.readBytes(regs, this.#core.kernel.structs.pt_regs.size);
    return new Uint32Array(bytes.buffer, bytes.byteOffset, bytes.length / 4);
  }

  /** What a CPU's registers are now, for a dump that no exception asked for. */
  currentRegs(cpu: Cpu): PtRegs {
    const { ptRegs, context } = this.#core.arch;
    const regs = new Uint32Array(ptRegsSize(ptRegs) / 4);
    context.save(cpu.context, regs);
    return regs;
  }

  inInterrupt(cpu: number): boolean {
    const { NMI_MASK, HARDIRQ_MASK, SOFTIRQ_MASK } = this.#core.kernel.constants;
    return (this.preemptCount(cpu) & (NMI_MASK | HARDIRQ_MASK | SOFTIRQ_MASK)) !== 0;
  }

  preemptCount(cpu: number): number {
    return preemptCount(this.#core, cpu);
  }

  /**
   * die() up to where the task has to be ended.
   * @throws GuestPanic in an interrupt.
   */
  die(site: OopsSite, what: string, error: number, options: DieOptions = {}): void {
    const { printk, events, arch, kernel } = this.#core;
    const { cpu, regs } = site;
    const task = this.#core.current(cpu);
    const from = printk.nextSeq;
    debugLocksOff(this.#core);
    if (this.#dieCounter === 0) this.#summary = regs;
    printk.log(KERN_DEFAULT, arch.showRegs.dieHeader(what, error, ++this.#dieCounter, buildFlags(kernel)));
    this.showRegs(cpu, regs);
    this.printModules();
    if (options.note !== undefined) printk.log(KERN_DEFAULT, options.note);
    this.#core.taints |= 1 << this.#core.kernel.constants.TAINT_DIE;
    this.endTrace();
    this.#say(showRegs(this.#summary ?? regs, this.#dumpOptions(cpu, true), this.#systemRegs(cpu)));
    const unset = this.#unset?.explain(cpu, regs);
    if (unset !== undefined) printk.log(KERN_DEFAULT, unset);
    const text = printk.since(from).map((r) => r.text);
    events.emit({ type: 'oops', pid: task.pid, comm: task.comm, text: text.join('\n') });
    if (options.nmi || this.inInterrupt(cpu)) this.panic(cpu, 'Fatal exception in interrupt', regs);
  }

  endTrace(): void {
    this.#core.printk.log(KERN_WARNING, END_TRACE);
  }

  printModules(): void {
    this.#core.printk.log(KERN_DEFAULT, printModules(this.#modules));
  }

  /** show_regs(): who, where, registers, and the trace of what runs in the kernel. */
  showRegs(cpu: number, regs: PtRegs): void {
    this.#say(this.#printInfo(cpu));
    const options = this.#dumpOptions(cpu, true);
    this.#say(showRegs(regs, options, this.#systemRegs(cpu)));
    const { ptRegs } = this.#core.arch;
    if (ptRegs.mode.isUser(regs[ptRegsOffset(ptRegs, ptRegs.mode.word) / 4])) return;
    this.#say(showTrace(this.#stackTrace.unwinder, this.#core.current(cpu), { regs }, options));
  }

  /** show_stack() of a task that is switched out. */
  showStack(task: TaskStruct): string[] {
    return showTrace(this.#stackTrace.unwinder, task, {}, this.#dumpOptions(task.cpu, false));
  }

  /** show_opcodes() of a task's own user code. */
  userOpcodes(cpu: number, ip: Addr): string[] {
    return showOpcodes(ip, true, true, this.#dumpOptions(cpu, true));
  }

  /** The end of make_task_dead(): what an oops leaks each time is not to be had without bound. */
  countOne(cpu: number): void {
    if (++this.#ended >= this.limit && this.limit !== 0)
      this.panic(cpu, `Oopsed too often (kernel.oops_limit is ${this.limit | 0})`);
  }

  /** panic(): `regs` are what ran; without them, what the CPU is at. */
  panic(cpu: number, message: string, regs: PtRegs = this.currentRegs(this.#cpus[cpu])): never {
    const { printk } = this.#core;
    const task = this.#core.current(cpu);
    printk.emerg(`Kernel panic - not syncing: ${message}`);
    if ((this.#core.taints & (1 << this.#core.kernel.constants.TAINT_DIE)) === 0) {
      this.#say(this.#printInfo(cpu));
      this.#say(showTrace(this.#stackTrace.unwinder, task, { regs }, this.#dumpOptions(cpu, true)));
    }
    printk.emerg('Kernel Offset: disabled');
    printk.emerg(`---[ end Kernel panic - not syncing: ${message} ]---`);
    const { ptRegs } = this.#core.arch;
    const where = `CPU ${cpu}, ${task} at ${this.#core.sym(readPtReg(ptRegs, regs, ptRegs.pc))}`;
    this.panicked = new GuestPanic(message, where);
    throw this.panicked;
  }

  #say(lines: readonly string[]): void {
    for (const line of lines) this.#core.printk.log(KERN_DEFAULT, line);
  }

  /** dump_stack_print_info() */
  #printInfo(cpu: number): string[] {
    const task = this.#core.current(cpu);
    const tainted = printTainted(this.#core);
    const { kernel } = this.#core;
    const named = holds(kernel, DUMPS.uidAndTaintNames);
    const model = holds(kernel, DUMPS.namesPreemptModel) ? PREEMPT_MODEL : '';
    const taints = named ? taintNames(this.#core) : [];
    const who = `CPU: ${cpu} ${named ? 'UID: 0 ' : ''}PID: ${task.pid} Comm: ${task.comm}`;
    return [
      `${who} ${tainted} ${kernelVersion(this.#core)} ${model}${kernel.packageId}${model === '' ? '' : ' '}`,
      ...(taints.length > 0 ? [`Tainted: ${taints.join(', ')}`] : []),
      `Hardware name: klpemu (emulated ${this.#core.arch.name})`,
      ...this.workerInfo(task),
    ];
  }

  /** print_worker_info(): the line `Workqueue: events some_work_fn`, where there is one. */
  workerInfo(task: TaskStruct): string[] {
    const info = this.#workqueue.info(task);
    if (!info) return [];
    const func = this.#core.symbols.format(info.func).replace(/\+0x[0-9a-f]+\/0x[0-9a-f]+/, '');
    return [`Workqueue: ${info.wq} ${func}`];
  }

  /** dump_stack() of the task that a CPU executes: who, where, and its trace from the caller on. */
  dumpStack(cpu: number): void {
    this.#say(this.#printInfo(cpu));
    const regs = this.currentRegs(this.#cpus[cpu]);
    this.#say(
      showTrace(this.#stackTrace.unwinder, this.#core.current(cpu), { regs }, this.#dumpOptions(cpu, true)),
    );
  }

  #dumpOptions(id: number, current: boolean): DumpOptions {
    const { symbols } = this.#core;
    return {
      arch: this.#core.arch,
      symbolize: (addr, backtrace) => (backtrace ? symbols.formatReturn(addr) : symbols.format(addr)),
      readCode: (addr, size, userMode) => this.#readCode(this.#cpus[id], addr, size, userMode),
      current,
    };
  }

  /**
   * copy_from_kernel_nofault(), and copy_from_user_nmi() for code of user mode: neither touches what is the other's. A byte
   * that is not there is a page fault, seen in the fault address only.
   */
  #readCode(cpu: Cpu, addr: Addr, size: number, userMode: boolean): Uint8Array | undefined {
    const { mem } = this.#core;
    if (userMode ? !isUserRange(addr, size) : !isKernelAddress(addr)) return undefined;
    for (let i = 0n; i < BigInt(size); i++) {
      const at = BigInt.asUintN(64, addr + i);
      if (mem.isMapped(at)) continue;
      cpu.processor.faultAddress = at;
      return undefined;
    }
    return mem.readBytes(addr, size);
  }

  /** The fault address is read when it is printed: the line of code bytes above it may have changed it. */
  #systemRegs(id: number): SystemState {
    const cpu = this.#cpus[id];
    return {
      percpuBase: this.#core.percpu.base[id],
      space: this.#core.protection ? (cpu.context.space ?? 0) : 0,
      protection: this.#core.protection ?? false,
      get faultAddress() {
        return cpu.processor.faultAddress;
      },
    };
  }
}
