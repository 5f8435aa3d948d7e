// What the kernel makes of an exception, as far as that is the same on all architectures: WARN() and BUG(), the death of a
// task, and what the port's handlers (src/arch/traps.ts) ask for. Mirrors lib/bug.c and make_task_dead() of kernel/exit.c.

import type { Processor } from '../../arch/processor.ts';
import type { DieOptions, ExceptionEntry, GuardedStack, TrapKernel } from '../../arch/traps.ts';
import type { Addr } from '../../guest/addr.ts';
import { STACK_HI, STACK_SLOT, THREAD_SIZE } from '../../guest/addr.ts';
import type { HostCall, HostFunctions } from '../../guest/hostcall.ts';
import { type GuestMemory, PAGE_SIZE } from '../../guest/memory.ts';
import type { KernelCore } from '../../kernel/core.ts';
import type { Constants, Structs } from '../../kernel/description.ts';
import { setPreemptCount } from '../../kernel/preempt_count.ts';
import { KERN_CRIT, KERN_DEFAULT, KERN_INFO, KERN_WARNING } from '../../kernel/printk.ts';
import { holds } from '../../kernel/release.ts';
import type { TaskStruct } from '../../kernel/task_struct.ts';
import { type FormatContext, vsprintfGuest } from '../../kernel/vsprintf.ts';
import type { Exit } from '../../sched/exit.ts';
import type { Cpu } from '../cpu/cpu.ts';
import type { BugSite, ExceptionSites } from './exception_sites.ts';
import { BUGFLAG_ARGS } from './kernel_lines.ts';
import type { Oops } from './oops.ts';
import { DUMPS } from './since.ts';

export class Traps implements TrapKernel {
  readonly mem: GuestMemory;
  readonly host: HostFunctions;
  readonly constants: Constants;
  readonly #core: KernelCore;
  readonly #taskStruct: Structs['task_struct']['fields'];
  readonly #cpus: readonly Cpu[];
  readonly #sites: ExceptionSites;
  readonly #oops: Oops;
  readonly #exit: Exit;
  readonly #format: FormatContext;
  readonly #isLater: boolean;
  /** What is on a kernel stack is given up, by its slot: no host function on it goes on. */
  readonly onAbandonStack: ((slot: number) => void)[] = [];

  constructor(
    core: KernelCore,
    cpus: readonly Cpu[],
    sites: ExceptionSites,
    oops: Oops,
    exit: Exit,
    format: FormatContext,
  ) {
    this.#format = format;
    this.#isLater = holds(core.kernel, DUMPS.warningSaysWhereFirst);
    this.mem = core.mem;
    this.host = core.host;
    this.constants = core.kernel.constants;
    this.#core = core;
    this.#cpus = cpus;
    this.#sites = sites;
    this.#exit = exit;
    this.#taskStruct = core.kernel.structs.task_struct.fields;
    this.#oops = oops;
    core.host.define('make_task_dead_prepare', (call) => this.#makeTaskDead(call));
    core.arch.defineTraps(this);
  }

  processor(cpu: number): Processor {
    return this.#cpus[cpu].processor;
  }
  currentOf(call: HostCall): TaskStruct {
    return this.#core.currentOf(call);
  }
  log(level: number, text: string): void {
    this.#core.printk.log(level, text);
  }
  formatReturn(addr: Addr): string {
    return this.#core.symbols.formatReturn(addr);
  }
  preemptCount(cpu: number): number {
    return this.#oops.preemptCount(cpu);
  }
  pokeBreakpoint(regs: Addr): boolean {
    return this.#sites.pokeBreakpoint(regs);
  }
  searchExceptionTables(pc: Addr): ExceptionEntry | undefined {
    return this.#sites.searchExceptionTables(pc);
  }
  get protection(): boolean {
    return this.#core.protection ?? false;
  }
  userText(addr: Addr): { readonly start: Addr; readonly size: number } | undefined {
    return this.#sites.userText(addr);
  }
  userOpcodes(cpu: number, pc: Addr): string[] {
    return this.#oops.userOpcodes(cpu, pc);
  }
  forceSig(call: HostCall, sig: number): void {
    this.#exit.sendSignal(this.#core.currentOf(call), sig);
  }
  die(cpu: number, regs: Addr, what: string, error: number, options?: DieOptions): void {
    this.#oops.die({ cpu, regs: this.#oops.regsAt(regs) }, what, error, options);
  }
  panic(cpu: number, message: string): never {
    this.#oops.panic(cpu, message);
  }
  abandonStack(cpu: number): void {
    const slot = this.#cpus[cpu].stackSlot();
    for (const abandoned of this.onAbandonStack) abandoned(slot);
  }
  stackEndCorrupted(call: HostCall): boolean {
    return (
      this.mem.readU32(this.#core.currentOf(call).stackBase) !== this.#core.kernel.constants.STACK_END_MAGIC
    );
  }

  reportBug(call: HostCall, regs: Addr, pc: Addr): 'none' | 'warning' | 'bug' {
    const bug = this.#sites.findBug(pc);
    return bug ? this.#report(call, regs, bug, pc) : 'none';
  }

  reportBugEntry(call: HostCall, regs: Addr, entry: Addr): 'warning' | 'bug' {
    const { bug, pc } = this.#sites.bugOf(entry);
    return this.#report(call, regs, bug, pc);
  }

  /** __report_bug() */
  #report(call: HostCall, regs: Addr, bug: BugSite, pc: Addr): 'warning' | 'bug' {
    const { printk, mem } = this.#core;
    const { BUGFLAG_WARNING, BUGFLAG_ONCE, BUGFLAG_DONE } = this.#core.kernel.constants;
    const warning = (bug.flags & BUGFLAG_WARNING) !== 0;
    if (warning && bug.flags & BUGFLAG_ONCE) {
      if (bug.flags & BUGFLAG_DONE) return 'warning';
      mem.writeU16(bug.flagsAt, bug.flags | BUGFLAG_DONE);
    }
    if ((bug.flags & this.#core.kernel.constants.BUGFLAG_NO_CUT_HERE) === 0) {
      printk.log(this.#isLater ? KERN_INFO : KERN_DEFAULT, '------------[ cut here ]------------');
      if (bug.format !== undefined) this.#sayFormat(regs, bug.format, bug.flags);
    }
    if (warning) this.#warn(call, regs, bug, pc);
    else if (bug.file) printk.log(KERN_CRIT, `kernel BUG at ${bug.file}:${bug.line}!`);
    else printk.log(KERN_CRIT, `Kernel BUG at ${this.#core.sym(pc)} [verbose debug info unavailable]`);
    return warning ? 'warning' : 'bug';
  }

  /** The message of a WARN() that traps with its arguments where a call has them. */
  #sayFormat(regs: Addr, format: Addr, flags: number): void {
    const { printk, mem, arch, symbols } = this.#core;
    if (mem.readU8(format) === 0) return;
    if ((flags & BUGFLAG_ARGS) === 0) {
      printk.warn(mem.readCString(format));
      return;
    }
    const callee = symbols.matches('__WARN_trap', undefined)[0]?.addr;
    printk.guest(vsprintfGuest(this.#format, format, arch.varargs.trapArgs(mem, regs, 1, callee)));
  }

  /** __warn() */
  #warn(call: HostCall, regs: Addr, bug: BugSite, pc: Addr): void {
    const { cpu } = call;
    const task = this.#core.currentOf(call);
    const at = bug.file ? `${bug.file}:${bug.line} ` : '';
    const where = this.#core.sym(pc);
    const text = this.#isLater
      ? `WARNING: ${at}at ${where}, CPU#${cpu}: ${task.comm}/${task.pid}`
      : `WARNING: CPU: ${cpu} PID: ${task.pid} at ${at}${where}`;
    this.#core.printk.log(KERN_WARNING, text);
    this.#oops.printModules();
    this.#oops.showRegs(cpu, this.#oops.regsAt(regs));
    this.#oops.endTrace();
    this.#core.taints |= 1 << (bug.flags >> 8);
  }

  stackGuard(address: Addr): GuardedStack | undefined {
    const begin = (address + BigInt(PAGE_SIZE - 1)) & ~BigInt(PAGE_SIZE - 1);
    const { mem } = this.#core;
    if (address >> 32n !== BigInt(STACK_HI) || mem.isMapped(address) || !mem.isMapped(begin))
      return undefined;
    if ((Number(begin & BigInt(STACK_SLOT - 1)) & (THREAD_SIZE - 1)) !== 0) return undefined;
    return { begin, end: begin + BigInt(THREAD_SIZE) };
  }

  /** make_task_dead() up to do_exit(). Returns 1 when the task was exiting already. */
  #makeTaskDead(call: HostCall): boolean {
    const { printk, mem } = this.#core;
    const task = this.#core.currentOf(call);
    const cpu = this.#cpus[call.cpu];
    const note = (what: string) => printk.info(`note: ${task.comm}[${task.pid}] exited with ${what}`);
    if (this.#oops.inInterrupt(call.cpu)) this.#oops.panic(call.cpu, 'Aiee, killing interrupt handler!');
    if (task.isIdle) this.#oops.panic(call.cpu, 'Attempted to kill the idle task!');
    if (!cpu.processor.interruptsOn) {
      note('irqs disabled');
      cpu.processor.interruptsOn = true;
    }
    const count = this.#oops.preemptCount(call.cpu);
    if (count !== 0) {
      note(`preempt_count ${count}`);
      setPreemptCount(this.#core, call.cpu, 0);
    }
    this.#oops.countOne(call.cpu);
    if (!task.isExiting) return false;
    printk.alert('Fixing recursive fault but reboot is needed!');
    mem.writeU32(task.addr + BigInt(this.#taskStruct.exit_state), this.#core.kernel.constants.EXIT_DEAD);
    return true;
  }
}
