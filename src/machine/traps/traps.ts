// What the kernel makes of an exception: a fix-up, a signal, an oops, a panic.
// Mirrors arch/x86/mm/fault.c, arch/x86/kernel/traps.c, lib/bug.c, and make_task_dead() of kernel/exit.c.
//
// Invariant: a handler that returns a signal number has printed the oops; the guest rewinds the stack and dies by it.

import type { Addr } from '../../guest/addr.ts';
import { hex16, STACK_HI, STACK_SLOT, THREAD_SIZE } from '../../guest/addr.ts';
import type { HostCall } from '../../guest/hostcall.ts';
import type { KernelCore } from '../../kernel/core.ts';
import type { Structs } from '../../kernel/description.ts';
import { CONSTANTS } from '../../kernel/layout.ts';
import { KERN_CRIT, KERN_DEFAULT, KERN_EMERG, KERN_INFO, KERN_WARNING } from '../../kernel/printk.ts';
import type { TaskStruct } from '../../kernel/task_struct.ts';
import type { Exit } from '../../sched/exit.ts';
import type { Cpu } from '../cpu/cpu.ts';
import type { BugSite, ExceptionSites } from './exception_sites.ts';
import { gpHint } from './gp_address.ts';
import type { Oops, OopsSite } from './oops.ts';

const { PF_EXITING, EXIT_DEAD, PREEMPT_NEED_RESCHED, X86_EFLAGS_IF, PAGE_SIZE } = CONSTANTS;
const { BUGFLAG_WARNING, BUGFLAG_ONCE, BUGFLAG_DONE, BUGFLAG_NO_CUT_HERE, STACK_END_MAGIC } = CONSTANTS;
const TASK_SIZE_MAX = 0x7fff_ffff_f000n;
const [SIGILL, SIGTRAP, SIGFPE, SIGKILL, SIGSEGV] = [4, 5, 8, 9, 11];
/** PF_ error code bits: arch/x86/include/asm/trap_pf.h */
const [PF_PROT, PF_WRITE, PF_USER, PF_INSTR] = [1, 2, 4, 16];
const LEN_UD2 = 2n;

/** Returns of the handlers: nothing more to do, or the signal that the task dies by. */
type Verdict = number;
const HANDLED: Verdict = 0;

export class Traps {
  readonly #core: KernelCore;
  readonly #ptRegs: Structs['pt_regs']['fields'];
  readonly #taskStruct: Structs['task_struct']['fields'];
  readonly #cpus: readonly Cpu[];
  readonly #sites: ExceptionSites;
  readonly #oops: Oops;
  readonly #exit: Exit;
  /** What is on a kernel stack is given up, by its slot: no host function on it goes on. */
  readonly onAbandonStack: ((slot: number) => void)[] = [];

  constructor(core: KernelCore, cpus: readonly Cpu[], sites: ExceptionSites, oops: Oops, exit: Exit) {
    this.#core = core;
    this.#cpus = cpus;
    this.#sites = sites;
    this.#exit = exit;
    this.#ptRegs = core.kernel.structs.pt_regs.fields;
    this.#taskStruct = core.kernel.structs.task_struct.fields;
    this.#oops = oops;
    core.host.defineAll({
      do_int3: (call) => this.#int3(call),
      do_error_trap: (call) => this.#errorTrap(call, 'divide error', SIGFPE),
      handle_invalid_op: (call) => this.#invalidOp(call),
      do_general_protection: (call) => this.#generalProtection(call),
      handle_page_fault: (call) => this.#pageFault(call),
      handle_stack_overflow: (call) => this.#doubleFault(call),
      stack_chk_panic: (call) => this.#stackChk(call),
      make_task_dead_prepare: (call) => this.#makeTaskDead(call),
    });
  }

  #reg(regs: Addr, name: keyof Structs['pt_regs']['fields']): bigint {
    return this.#core.mem.readU64(regs + BigInt(this.#ptRegs[name]));
  }
  #userMode(regs: Addr): boolean {
    return (this.#reg(regs, 'cs') & 3n) !== 0n;
  }
  #site(call: HostCall): OopsSite {
    return { cpu: call.cpu, regs: this.#oops.regsAt(call.args[0]) };
  }

  /** Enters as an NMI does when it is not of a site that is being changed: what dies there is the machine. */
  #int3(call: HostCall): Verdict {
    const regs = call.args[0];
    if (this.#userMode(regs)) return this.#signal(call, 'trap int3', SIGTRAP);
    if (this.#sites.pokeInt3(regs)) return HANDLED;
    this.#oops.die(this.#site(call), 'int3', 0, { nmi: true });
    return SIGSEGV;
  }

  #errorTrap(call: HostCall, what: string, sig: number): Verdict {
    const regs = call.args[0];
    if (this.#userMode(regs)) return this.#signal(call, `trap ${what}`, sig);
    if (this.#sites.fixupException(regs)) return HANDLED;
    return this.#die(call, what, 0);
  }

  #invalidOp(call: HostCall): Verdict {
    const regs = call.args[0];
    const ip = this.#reg(regs, 'ip');
    const bug = this.#userMode(regs) ? undefined : this.#sites.findBug(ip);
    if (bug && this.#reportBug(call, bug, ip) === 'warning') {
      this.#core.mem.writeU64(regs + BigInt(this.#ptRegs.ip), ip + LEN_UD2);
      return HANDLED;
    }
    return this.#errorTrap(call, 'invalid opcode', SIGILL);
  }

  /** report_bug() */
  #reportBug(call: HostCall, bug: BugSite, ip: Addr): 'warning' | 'bug' {
    const { printk, mem } = this.#core;
    const warning = (bug.flags & BUGFLAG_WARNING) !== 0;
    if (warning && bug.flags & BUGFLAG_ONCE) {
      if (bug.flags & BUGFLAG_DONE) return 'warning';
      mem.writeU16(bug.flagsAt, bug.flags | BUGFLAG_DONE);
    }
    if ((bug.flags & BUGFLAG_NO_CUT_HERE) === 0) {
      printk.log(KERN_DEFAULT, '------------[ cut here ]------------');
    }
    if (warning) this.#warn(call, bug, ip);
    else if (bug.file) printk.log(KERN_CRIT, `kernel BUG at ${bug.file}:${bug.line}!`);
    else printk.log(KERN_CRIT, `Kernel BUG at ${this.#core.sym(ip)} [verbose debug info unavailable]`);
    return warning ? 'warning' : 'bug';
  }

  /** __warn() */
  #warn(call: HostCall, bug: BugSite, ip: Addr): void {
    const { cpu, regs } = this.#site(call);
    const task = this.#core.currentOf(call);
    const at = bug.file ? `${bug.file}:${bug.line} ` : '';
    const text = `WARNING: CPU: ${cpu} PID: ${task.pid} at ${at}${this.#core.sym(ip)}`;
    this.#core.printk.log(KERN_WARNING, text);
    this.#oops.printModules();
    this.#oops.showRegs(cpu, regs);
    this.#oops.endTrace();
    this.#core.taints |= 1 << (bug.flags >> 8);
  }

  #generalProtection(call: HostCall): Verdict {
    const [regs, errorCode] = call.args;
    const what = 'general protection fault';
    if (this.#userMode(regs)) return this.#signal(call, what, SIGSEGV);
    if (this.#sites.fixupException(regs)) return HANDLED;
    const error = Number(BigInt.asUintN(32, errorCode));
    if (error !== 0) return this.#die(call, `segment-related ${what}`, error);
    const { mem } = this.#core;
    const read = (at: Addr, n: number) => (mem.isMapped(at, n) ? mem.readBytes(at, n) : undefined);
    return this.#die(call, what + gpHint(this.#site(call).regs, read), 0);
  }

  #pageFault(call: HostCall): Verdict {
    const [regs, errorCode] = call.args;
    const error = Number(BigInt.asUintN(32, errorCode));
    const address = this.#cpus[call.cpu].processor.faultAddress;
    if (this.#userMode(regs)) return this.#segfault(call, address, error);
    if (this.#interruptsOnAgain(call, address, error)) this.#cpus[call.cpu].processor.interruptsOn = true;
    if (this.#sites.fixupException(regs)) {
      this.#cpus[call.cpu].processor.interruptsOn = false;
      return HANDLED;
    }
    const { printk } = this.#core;
    const guarded = this.#stackGuardInfo(address);
    if (guarded) return this.#stackOverflow(call, address, guarded, false);
    this.#showFaultOops(address, error);
    const task = this.#core.currentOf(call);
    if (this.#core.mem.readU32(task.stackBase) !== STACK_END_MAGIC)
      printk.emerg('Thread overran stack, or stack corrupted');
    this.#oops.die(this.#site(call), 'Oops', error, { cr2: address });
    return this.#rewind(call, SIGKILL);
  }

  /** do_user_addr_fault() lets interrupts in again, once it has not found the access to be hopeless at once. */
  #interruptsOnAgain(call: HostCall, address: Addr, error: number): boolean {
    const on = (this.#reg(call.args[0], 'flags') & BigInt(X86_EFLAGS_IF)) !== 0n;
    const hopeless = address >= TASK_SIZE_MAX || (error & (PF_USER | PF_INSTR)) === PF_INSTR;
    // exit_mm() comes before everything in do_exit() that could fault.
    const task = this.#core.currentOf(call);
    const noMm = task.isKthread || (task.flags & PF_EXITING) !== 0;
    return on && !hopeless && !noMm && this.#oops.preemptCount(call.cpu) === 0;
  }

  /** show_fault_oops() */
  #showFaultOops(address: Addr, error: number): void {
    const { printk } = this.#core;
    const fetch = (error & PF_INSTR) !== 0;
    if (fetch && (error & PF_PROT) !== 0)
      printk.log(KERN_CRIT, 'kernel tried to execute NX-protected page - exploit attempt? (uid: 0)');
    const null_ = address < BigInt(PAGE_SIZE);
    const what = null_
      ? 'kernel NULL pointer dereference, address'
      : 'unable to handle page fault for address';
    printk.alert(`BUG: ${what}: ${hex16(address)}`);
    const access = fetch ? 'instruction fetch' : error & PF_WRITE ? 'write access' : 'read access';
    printk.alert(`#PF: supervisor ${access} in kernel mode`);
    const reason = error & PF_PROT ? 'permissions violation' : 'not-present page';
    printk.alert(`#PF: error_code(0x${error.toString(16).padStart(4, '0')}) - ${reason}`);
    // The engine runs without paging: there is no page table to dump.
    printk.log(KERN_INFO, 'PGD 0 P4D 0 ');
  }

  /** show_signal_msg(), force_sig_fault() */
  #segfault(call: HostCall, address: Addr, errorCode: number): Verdict {
    const regs = call.args[0];
    const task = this.#core.currentOf(call);
    const error = address >= TASK_SIZE_MAX ? errorCode | PF_PROT : errorCode;
    const [ip, sp] = [this.#reg(regs, 'ip'), this.#reg(regs, 'sp')];
    const level = task.pid > 1 ? KERN_INFO : KERN_EMERG;
    const where = `segfault at ${address.toString(16)} ip ${hex16(ip)} sp ${hex16(sp)}`;
    const text = `${task.comm}[${task.pid}]: ${where} error ${error.toString(16)}${this.#vma(task, ip)}`;
    const on = `likely on CPU ${call.cpu} (core ${call.cpu}, socket 0)`;
    this.#core.printk.log(level, `${text} ${on}`);
    for (const line of this.#oops.userOpcodes(call.cpu, ip)) this.#core.printk.log(level, line);
    this.#exit.sendSignal(task, SIGSEGV);
    return HANDLED;
  }

  /** print_vma_addr(): ` in cat[400000+1000]`; a program of the image is named as its task is. */
  #vma(task: TaskStruct, ip: Addr): string {
    const text = this.#sites.userText(ip);
    return text ? ` in ${task.comm}[${text.start.toString(16)}+${text.size.toString(16)}]` : '';
  }

  /** get_stack_guard_info(): the stack that lies above the guard page in which the address is. */
  #stackGuardInfo(address: Addr): { begin: Addr; end: Addr } | undefined {
    const begin = (address + BigInt(PAGE_SIZE - 1)) & ~BigInt(PAGE_SIZE - 1);
    const { mem } = this.#core;
    if (address >> 32n !== BigInt(STACK_HI) || mem.isMapped(address) || !mem.isMapped(begin))
      return undefined;
    if ((Number(begin & BigInt(STACK_SLOT - 1)) & (THREAD_SIZE - 1)) !== 0) return undefined;
    return { begin, end: begin + BigInt(THREAD_SIZE) };
  }

  /** handle_stack_overflow(); addresses are as %px prints them, where the kernel hashes them. */
  #stackOverflow(call: HostCall, address: Addr, stack: { begin: Addr; end: Addr }, nmi: boolean): Verdict {
    const at = `${hex16(address)} (stack is ${hex16(stack.begin)}..${hex16(stack.end)})`;
    this.#core.printk.emerg(`BUG: TASK stack guard page was hit at ${at}`);
    this.#oops.die(this.#site(call), 'stack guard page', 0, { nmi });
    return this.#rewind(call, SIGSEGV);
  }

  #doubleFault(call: HostCall): Verdict {
    const address = this.#cpus[call.cpu].processor.faultAddress;
    const guarded = this.#stackGuardInfo(address);
    if (guarded) return this.#stackOverflow(call, address, guarded, true);
    this.#core.printk.emerg('traps: PANIC: double fault, error_code: 0x0');
    this.#oops.die(this.#site(call), 'double fault', 0, { nmi: true });
    return SIGSEGV;
  }

  /** __stack_chk_fail(): its caller's address lies above its own frame. */
  #stackChk(call: HostCall): never {
    const { mem, symbols } = this.#core;
    const caller = symbols.formatReturn(mem.readU64(call.sp + 16n));
    this.#oops.panic(call.cpu, `stack-protector: Kernel stack is corrupted in: ${caller}`);
  }

  /** show_signal(), force_sig() */
  #signal(call: HostCall, what: string, sig: number): Verdict {
    const [regs, errorCode] = call.args;
    const task = this.#core.currentOf(call);
    const [ip, sp] = [this.#reg(regs, 'ip'), this.#reg(regs, 'sp')];
    const error = what.startsWith('trap') ? 0n : BigInt.asUintN(32, errorCode);
    const at = `ip:${ip.toString(16)} sp:${sp.toString(16)} error:${error.toString(16)}${this.#vma(task, ip)}`;
    this.#core.printk.log(KERN_INFO, `traps: ${task.comm}[${task.pid}] ${what} ${at}`);
    this.#exit.sendSignal(task, sig);
    return HANDLED;
  }

  /** die() of an exception that had interrupts as they were where it happened. */
  #die(call: HostCall, what: string, error: number): Verdict {
    if ((this.#reg(call.args[0], 'flags') & BigInt(X86_EFLAGS_IF)) !== 0n)
      this.#cpus[call.cpu].processor.interruptsOn = true;
    this.#oops.die(this.#site(call), what, error);
    return this.#rewind(call, SIGSEGV);
  }

  /** rewind_stack_and_make_dead(): the guest sets its stack pointer to the top. */
  #rewind(call: HostCall, sig: number): Verdict {
    const slot = this.#cpus[call.cpu].stackSlot();
    for (const abandoned of this.onAbandonStack) abandoned(slot);
    return sig;
  }

  /** make_task_dead() up to do_exit(). Returns 1 when the task was exiting already. */
  #makeTaskDead(call: HostCall): boolean {
    const { printk, percpu, mem } = this.#core;
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
      const resched = percpu.readU32('__preempt_count', call.cpu) & PREEMPT_NEED_RESCHED;
      percpu.writeU32('__preempt_count', call.cpu, resched >>> 0);
    }
    if ((task.flags & PF_EXITING) === 0) return false;
    printk.alert('Fixing recursive fault but reboot is needed!');
    mem.writeU32(task.addr + BigInt(this.#taskStruct.exit_state), EXIT_DEAD);
    return true;
  }
}
