// What the kernel makes of a page fault. Mirrors arch/x86/mm/fault.c.

import type { Addr } from '../../../guest/addr.ts';
import { hex16 } from '../../../guest/addr.ts';
import type { HostCall } from '../../../guest/hostcall.ts';
import { PAGE_SIZE } from '../../../guest/memory.ts';
import { KERN_ALERT, KERN_CRIT, KERN_EMERG, KERN_INFO } from '../../../kernel/printk.ts';
import { PF_INSTR, PF_PROT, PF_USER, PF_WRITE } from './fault_codes.ts';
import type { X86Traps } from './traps.ts';
import { HANDLED, SIGKILL, SIGSEGV, type Verdict } from './verdict.ts';

const TASK_SIZE_MAX = 0x7fff_ffff_f000n;

export class PageFaults {
  readonly #traps: X86Traps;

  constructor(traps: X86Traps) {
    this.#traps = traps;
  }

  handle(call: HostCall): Verdict {
    const { kernel } = this.#traps;
    const [regs, errorCode] = call.args;
    const error = Number(BigInt.asUintN(32, errorCode));
    const processor = kernel.processor(call.cpu);
    const address = processor.faultAddress;
    if (this.#traps.userMode(regs)) return this.#segfault(call, address, error);
    if (this.#interruptsOnAgain(call, address, error)) processor.interruptsOn = true;
    if (kernel.fixupException(regs)) {
      processor.interruptsOn = false;
      return HANDLED;
    }
    const guarded = kernel.stackGuard(address);
    if (guarded) return this.#traps.stackOverflow(call, address, guarded, false);
    this.#showFaultOops(address, error);
    if (kernel.stackEndCorrupted(call)) kernel.log(KERN_EMERG, 'Thread overran stack, or stack corrupted');
    kernel.die(call.cpu, regs, 'Oops', error, { note: `CR2: ${hex16(address)}` });
    return this.#traps.rewind(call, SIGKILL);
  }

  /** do_user_addr_fault() lets interrupts in again, once it has not found the access to be hopeless at once. */
  #interruptsOnAgain(call: HostCall, address: Addr, error: number): boolean {
    const on = this.#traps.interruptsWereOn(call.args[0]);
    const hopeless = address >= TASK_SIZE_MAX || (error & (PF_USER | PF_INSTR)) === PF_INSTR;
    // exit_mm() comes before everything in do_exit() that could fault.
    const task = this.#traps.kernel.currentOf(call);
    const noMm = task.isKthread || task.isExiting;
    return on && !hopeless && !noMm && this.#traps.kernel.preemptCount(call.cpu) === 0;
  }

  /** show_fault_oops() */
  #showFaultOops(address: Addr, error: number): void {
    const { kernel } = this.#traps;
    const alert = (text: string) => kernel.log(KERN_ALERT, text);
    const fetch = (error & PF_INSTR) !== 0;
    if (fetch && (error & PF_PROT) !== 0)
      kernel.log(KERN_CRIT, 'kernel tried to execute NX-protected page - exploit attempt? (uid: 0)');
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
