// The handlers of exceptions: a fix-up, a signal, an oops, a panic.
// Mirrors arch/x86/kernel/traps.c, and what arch/x86/kernel/dumpstack.c has of their end.
//
// Invariant: a handler that returns a signal number has printed the oops; the guest rewinds the stack and dies by it.

import type { Addr } from '../../../guest/addr.ts';
import { hex16 } from '../../../guest/addr.ts';
import type { HostCall } from '../../../guest/hostcall.ts';
import { KERN_EMERG, KERN_INFO } from '../../../kernel/printk.ts';
import { ptRegsOffset } from '../../pt_regs.ts';
import type { GuardedStack, TrapKernel, TrapTask } from '../../traps.ts';
import { UD1_WARN } from '../insn.ts';
import { PT_REGS, PT_REGS_SIZE, type PtRegsName } from '../pt_regs.ts';
import { RFLAGS } from '../rflags.ts';
import { fixupException, type TrapName } from './fixup.ts';
import { gpHint } from './gp_address.ts';
import type { Interrupted } from './interrupted.ts';
import { PageFaults } from './page_fault.ts';
import { HANDLED, SIGFPE, SIGILL, SIGSEGV, SIGTRAP, type Verdict } from './verdict.ts';

const LEN_UD2 = 2n;
/** By their numbers. */
const REGISTERS: readonly PtRegsName[] = [
  ...(['ax', 'cx', 'dx', 'bx', 'sp', 'bp', 'si', 'di'] as const),
  ...(['r8', 'r9', 'r10', 'r11', 'r12', 'r13', 'r14', 'r15'] as const),
];
/** From the stack pointer of a function that keeps a frame and was called by another: the return address of that one. */
const CALLER_OF_CALLER = 16n;

const offsetOf = (name: PtRegsName): number => ptRegsOffset(PT_REGS, name);

export class X86Traps implements Interrupted {
  readonly kernel: TrapKernel;

  constructor(kernel: TrapKernel) {
    this.kernel = kernel;
    const pageFaults = new PageFaults(this);
    kernel.host.defineAll({
      do_int3: (call) => this.#int3(call),
      do_error_trap: (call) => this.#errorTrap(call, 'divide error', 'X86_TRAP_DE', SIGFPE),
      handle_invalid_op: (call) => this.#invalidOp(call),
      do_general_protection: (call) => this.#generalProtection(call),
      math_error: (call) => this.#mathError(call),
      handle_page_fault: (call) => pageFaults.handle(call),
      handle_stack_overflow: (call) => this.#doubleFault(call),
      stack_chk_panic: (call) => this.#stackChk(call),
    });
  }

  reg(regs: Addr, name: PtRegsName): bigint {
    return this.kernel.mem.readU64(regs + BigInt(offsetOf(name)));
  }
  setReg(regs: Addr, name: PtRegsName, value: bigint): void {
    this.kernel.mem.writeU64(regs + BigInt(offsetOf(name)), value);
  }
  userMode(regs: Addr): boolean {
    return PT_REGS.mode.isUser(this.kernel.mem.readU32(regs + BigInt(offsetOf('cs'))));
  }
  interruptsWereOn(regs: Addr): boolean {
    return (this.reg(regs, 'flags') & RFLAGS.IF) !== 0n;
  }

  /** Enters as an NMI does when it is not of a site that is being changed: what dies there is the machine. */
  #int3(call: HostCall): Verdict {
    const regs = call.args[0];
    if (this.userMode(regs)) return this.#signal(call, 'trap int3', SIGTRAP);
    if (this.kernel.pokeBreakpoint(regs)) return HANDLED;
    this.kernel.die(call.cpu, regs, 'int3', 0, { nmi: true });
    return SIGSEGV;
  }

  #errorTrap(call: HostCall, what: string, trap: TrapName, sig: number): Verdict {
    const regs = call.args[0];
    if (this.userMode(regs)) return this.#signal(call, `trap ${what}`, sig);
    if (fixupException(this, regs, trap)) return HANDLED;
    return this.#die(call, what, 0);
  }

  #invalidOp(call: HostCall): Verdict {
    const regs = call.args[0];
    const ip = this.reg(regs, 'ip');
    const entry = this.userMode(regs) ? undefined : this.#warnEntry(regs, ip);
    if (entry !== undefined && this.kernel.reportBugEntry(call, regs, entry) === 'warning') {
      this.setReg(regs, 'ip', ip + BigInt(UD1_WARN.length));
      return HANDLED;
    }
    if (!this.userMode(regs) && this.kernel.reportBug(call, regs, ip) === 'warning') {
      this.setReg(regs, 'ip', ip + LEN_UD2);
      return HANDLED;
    }
    return this.#errorTrap(call, 'invalid opcode', 'X86_TRAP_UD', SIGILL);
  }

  /** decode_bug() of BUG_UD1_WARN, `ud1 (%edx),%reg`: the struct bug_entry that the register points to. */
  #warnEntry(regs: Addr, ip: Addr): Addr | undefined {
    const { mem } = this.kernel;
    if (!mem.isMapped(ip, UD1_WARN.length)) return undefined;
    const [size, rex, first, opcode, modrm] = mem.readBytes(ip, UD1_WARN.length);
    const isWarn = size === UD1_WARN[0] && first === UD1_WARN[2] && opcode === UD1_WARN[3];
    // REX.W, and REX.R of the register; mod 0, and the base rdx.
    if (!isWarn || (rex & ~4) !== UD1_WARN[1] || (modrm & 0xc7) !== 2) return undefined;
    return this.reg(regs, REGISTERS[((rex & 4) << 1) | ((modrm >> 3) & 7)]);
  }

  #generalProtection(call: HostCall): Verdict {
    const [regs, errorCode] = call.args;
    const what = 'general protection fault';
    if (this.userMode(regs)) return this.#signal(call, what, SIGSEGV);
    if (fixupException(this, regs, 'X86_TRAP_GP')) return HANDLED;
    const error = Number(BigInt.asUintN(32, errorCode));
    if (error !== 0) return this.#die(call, `segment-related ${what}`, error);
    const { mem } = this.kernel;
    const read = (at: Addr, n: number) => (mem.isMapped(at, n) ? mem.readBytes(at, n) : undefined);
    const bytes = mem.readBytes(regs, PT_REGS_SIZE);
    const file = new Uint32Array(bytes.buffer, bytes.byteOffset, bytes.length / 4);
    return this.#die(call, what + gpHint(file, read), 0);
  }

  /** math_error() of #XM. A user's is told of by its signal alone. */
  #mathError(call: HostCall): Verdict {
    const regs = call.args[0];
    if (this.userMode(regs)) {
      this.kernel.forceSig(call, SIGFPE);
      return HANDLED;
    }
    if (fixupException(this, regs, 'X86_TRAP_XF')) return HANDLED;
    return this.#die(call, 'simd exception', 0);
  }

  #doubleFault(call: HostCall): Verdict {
    const address = this.kernel.processor(call.cpu).faultAddress;
    const guarded = this.kernel.stackGuard(address);
    if (guarded) return this.stackOverflow(call, address, guarded, true);
    this.kernel.log(KERN_EMERG, 'traps: PANIC: double fault, error_code: 0x0');
    this.kernel.die(call.cpu, call.args[0], 'double fault', 0, { nmi: true });
    return SIGSEGV;
  }

  /** handle_stack_overflow(); addresses are as %px prints them, where the kernel hashes them. */
  stackOverflow(call: HostCall, address: Addr, stack: GuardedStack, nmi: boolean): Verdict {
    const at = `${hex16(address)} (stack is ${hex16(stack.begin)}..${hex16(stack.end)})`;
    this.kernel.log(KERN_EMERG, `BUG: TASK stack guard page was hit at ${at}`);
    this.kernel.die(call.cpu, call.args[0], 'stack guard page', 0, { nmi });
    return this.rewind(call, SIGSEGV);
  }

  /** __stack_chk_fail(): its caller's address lies above its own, and its frame pointer. */
  #stackChk(call: HostCall): never {
    const caller = this.kernel.formatReturn(this.kernel.mem.readU64(call.sp + CALLER_OF_CALLER));
    this.kernel.panic(call.cpu, `stack-protector: Kernel stack is corrupted in: ${caller}`);
  }

  /** show_signal(), force_sig() */
  #signal(call: HostCall, what: string, sig: number): Verdict {
    const [regs, errorCode] = call.args;
    const task = this.kernel.currentOf(call);
    const [ip, sp] = [this.reg(regs, 'ip'), this.reg(regs, 'sp')];
    const error = what.startsWith('trap') ? 0n : BigInt.asUintN(32, errorCode);
    const at = `ip:${ip.toString(16)} sp:${sp.toString(16)} error:${error.toString(16)}${this.vma(task, ip)}`;
    this.kernel.log(KERN_INFO, `traps: ${task.comm}[${task.pid}] ${what} ${at}`);
    this.kernel.forceSig(call, sig);
    return HANDLED;
  }

  /** print_vma_addr(): ` in cat[400000+1000]`; a program of the image is named as its task is. */
  vma(task: TrapTask, ip: Addr): string {
    const text = this.kernel.userText(ip);
    return text ? ` in ${task.comm}[${text.start.toString(16)}+${text.size.toString(16)}]` : '';
  }

  /** die() of an exception that had interrupts as they were where it happened. */
  #die(call: HostCall, what: string, error: number): Verdict {
    const regs = call.args[0];
    if (this.interruptsWereOn(regs)) this.kernel.processor(call.cpu).interruptsOn = true;
    this.kernel.die(call.cpu, regs, what, error);
    return this.rewind(call, SIGSEGV);
  }

  /** rewind_stack_and_make_dead(): the guest sets its stack pointer to the top. */
  rewind(call: HostCall, sig: number): Verdict {
    this.kernel.abandonStack(call.cpu);
    return sig;
  }
}
