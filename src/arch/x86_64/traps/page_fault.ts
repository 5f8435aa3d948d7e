// What the kernel makes of a page fault. Mirrors arch/x86/mm/fault.c.

import type { Addr } from '../../../guest/addr.ts';
import { hex16, TASK_SIZE_MAX } from '../../../guest/addr.ts';
import type { HostCall } from '../../../guest/hostcall.ts';
import { PAGE_SIZE, PROT_EXEC } from '../../../guest/memory.ts';
import { KERN_ALERT, KERN_CRIT, KERN_EMERG, KERN_INFO } from '../../../kernel/printk.ts';
import { RFLAGS } from '../rflags.ts';
import { PF_INSTR, PF_PROT, PF_USER, PF_WRITE } from './fault_codes.ts';
import { fixupException } from './fixup.ts';
import type { Interrupted } from './interrupted.ts';
import { HANDLED, SIGKILL, SIGSEGV, type Verdict } from './verdict.ts';

export class PageFaults {
  readonly #traps: Interrupted;

  constructor(traps: Interrupted) {
    this.#traps = traps;
  }

  handle(call: HostCall): Verdict {
    const { kernel } = this.#traps;
    const [regs, errorCode] = call.args;
    const error = Number(BigInt.asUintN(32, errorCode));
    const processor = kernel.processor(call.cpu);
    const address = processor.faultAddress;
    if (this.#traps.userMode(regs)) return this.#segfault(call, address, error);
    if (!this.#hopeless(regs, address, error)) {
      if (this.#interruptsOnAgain(call, address)) processor.interruptsOn = true;
      if (fixupException(this.#traps, regs, 'X86_TRAP_PF')) {
        processor.interruptsOn = false;
        return HANDLED;
      }
    }
    const guarded = kernel.stackGuard(address);
    if (guarded) return this.#traps.stackOverflow(call, address, guarded, false);
    this.#showFaultOops(address, error);
    if (kernel.stackEndCorrupted(call)) kernel.log(KERN_EMERG, 'Thread overran stack, or stack corrupted');
    kernel.die(call.cpu, regs, 'Oops', error, { note: `CR2: ${hex16(address)}` });
    return this.#traps.rewind(call, SIGKILL);
  }

  /**
   * do_user_addr_fault() has no fixup for kernel code that executes what is in the user's half, nor for one that accesses
   * it on a CPU with SMAP without having said so.
   */
  #hopeless(regs: Addr, address: Addr, error: number): boolean {
    if (address >= TASK_SIZE_MAX || (error & PF_USER) !== 0) return false;
    if ((error & PF_INSTR) !== 0) return true;
    return this.#traps.kernel.protection && (this.#traps.reg(regs, 'flags') & RFLAGS.AC) === 0n;
  }

  /** do_user_addr_fault() lets interrupts in again; do_kern_addr_fault() does not. */
  #interruptsOnAgain(call: HostCall, address: Addr): boolean {
    const on = this.#traps.interruptsWereOn(call.args[0]) && address < TASK_SIZE_MAX;
    // exit_mm() comes before everything in do_exit() that could fault.
    const task = this.#traps.kernel.currentOf(call);
    const noMm = task.isKthread || task.isExiting;
    return on && !noMm && this.#traps.kernel.preemptCount(call.cpu) === 0;
  }

  /** show_fault_oops() */
  #showFaultOops(address: Addr, error: number): void {
    const { kernel } = this.#traps;
    const alert = (text: string) => kernel.log(KERN_ALERT, text);
    const fetch = (error & PF_INSTR) !== 0;
    if (fetch && (error & PF_PROT) !== 0) kernel.log(KERN_CRIT, this.#whyNotExecuted(address));
    const null_ = address < BigInt(PAGE_SIZE);
    const what = null_
      ? 'kernel NULL pointer dereference, address'
      : 'unable to handle page fault for address';
    alert(`BUG: ${what}: ${hex16(address)}`);
    const access = fetch ? 'instruction fetch' : error & PF_WRITE ? 'write access' : 'read access';
    alert(`#PF: supervisor ${access} in kernel mode`);
    const reason = error & PF_PROT ? 'permissions violation' : 'not-present page';
    alert(`#PF: error_code(0x${error.toString(16).padStart(4, '0')}) - ${reason}`);
    // The engine runs without paging: there is no page table to dump.
    kernel.log(KERN_INFO, 'PGD 0 P4D 0 ');
  }

  /** A page that is there was not executed: it is the user's, or of data. */
  #whyNotExecuted(address: Addr): string {
    const { mem } = this.#traps.kernel;
    const executable = ((mem.protectionOf(address) ?? 0) & PROT_EXEC) !== 0;
    return address < TASK_SIZE_MAX && executable
      ? 'unable to execute userspace code (SMEP?) (uid: 0)'
      : 'kernel tried to execute NX-protected page - exploit attempt? (uid: 0)';
  }

  /** show_signal_msg(), force_sig_fault() */
  #segfault(call: HostCall, address: Addr, errorCode: number): Verdict {
    const { kernel } = this.#traps;
    const regs = call.args[0];
    const task = kernel.currentOf(call);
    const error = address >= TASK_SIZE_MAX ? errorCode | PF_PROT : errorCode;
    const [ip, sp] = [this.#traps.reg(regs, 'ip'), this.#traps.reg(regs, 'sp')];
    const level = task.pid > 1 ? KERN_INFO : KERN_EMERG;
    const where = `segfault at ${address.toString(16)} ip ${hex16(ip)} sp ${hex16(sp)}`;
    const at = `${where} error ${error.toString(16)}${this.#traps.vma(task, ip)}`;
    const on = `likely on CPU ${call.cpu} (core ${call.cpu}, socket 0)`;
    kernel.log(level, `${task.comm}[${task.pid}]: ${at} ${on}`);
    for (const line of kernel.userOpcodes(call.cpu, ip)) kernel.log(level, line);
    kernel.forceSig(call, SIGSEGV);
    return HANDLED;
  }
}
