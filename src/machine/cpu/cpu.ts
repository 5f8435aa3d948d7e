// One emulated CPU, and what hardware does to it: interrupts, exceptions, the system call instruction.
// Mirrors the Intel SDM vol. 3A chapter 6 for what is pushed, and the kernel's IDT for where it goes.

import { REG } from '../../arch/x86_64/context.ts';
import { type Addr, lo32 } from '../../guest/addr.ts';
import type { CpuContext } from '../../guest/engine.ts';
import type { KernelCore } from '../../kernel/core.ts';
import { CONSTANTS } from '../../kernel/layout.ts';
import { DebugRegisters } from './debug_registers.ts';

const { X86_EFLAGS_IF, X86_EFLAGS_TF, X86_EFLAGS_NT, X86_EFLAGS_RF, X86_EFLAGS_DF, X86_EFLAGS_AC } =
  CONSTANTS;
const [USER_CS, USER_DS] = [BigInt(CONSTANTS.__USER_CS), BigInt(CONSTANTS.__USER_DS)];
const [KERNEL_CS, KERNEL_DS] = [BigInt(CONSTANTS.__KERNEL_CS), BigInt(CONSTANTS.__KERNEL_DS)];
const IF = BigInt(X86_EFLAGS_IF);
const CLEARED_BY_INTERRUPT = ~(IF | BigInt(X86_EFLAGS_TF | X86_EFLAGS_NT | X86_EFLAGS_RF));
/** MSR_SYSCALL_MASK as the kernel sets it. */
const CLEARED_BY_SYSCALL = ~(IF | BigInt(X86_EFLAGS_TF | X86_EFLAGS_DF | X86_EFLAGS_AC | X86_EFLAGS_NT));

/** Tells of a frame that hardware pushed: the address at which its pt_regs begins. */
export type InterruptListener = (cpu: Cpu, regs: Addr) => void;

export class Cpu {
  readonly id: number;
  readonly context: CpuContext;
  /** Virtual ns that this CPU has lived through. */
  clock = 0;
  /** In hlt: executes nothing until an interrupt. */
  halted = false;
  /** When it goes on by itself, while halted outside of the idle loop, which alone stops the tick (virtual ns). */
  wakesAt: number | undefined;
  /** In hlt with interrupts off: executes nothing any more. */
  stopped = false;
  readonly debug = new DebugRegisters();
  /** Interrupts that wait for IF. */
  tickPending = false;
  reschedulePending = false;
  /** Another CPU was woken: it may have a turn now. */
  sliceOver = false;
  /** When the next tick comes (virtual ns), while not halted. */
  nextTick: number;
  /** CR2: address of the last page fault. */
  cr2: Addr = 0n;
  readonly #core: KernelCore;
  readonly #onInterrupt: InterruptListener;

  constructor(
    id: number,
    context: CpuContext,
    core: KernelCore,
    nextTick: number,
    onInterrupt: InterruptListener,
  ) {
    this.id = id;
    this.context = context;
    this.nextTick = nextTick;
    this.#core = core;
    this.#onInterrupt = onInterrupt;
  }

  get pc(): Addr {
    return this.context.regs[REG.rip];
  }
  set pc(value: Addr) {
    this.context.regs[REG.rip] = value;
    this.context.touch();
  }
  get sp(): Addr {
    return this.context.regs[REG.rsp];
  }
  get interruptsOn(): boolean {
    return (this.context.regs[REG.rflags] & IF) !== 0n;
  }
  set interruptsOn(on: boolean) {
    const { regs } = this.context;
    regs[REG.rflags] = on ? regs[REG.rflags] | IF : regs[REG.rflags] & ~IF;
    this.context.touch();
  }

  /** hlt with interrupts on. */
  halt(wakesAt: number | undefined): void {
    this.halted = true;
    this.wakesAt = wakesAt;
  }

  /** hlt with interrupts off. */
  stop(): void {
    this.halted = true;
    this.stopped = true;
  }

  wake(): void {
    if (this.stopped) return;
    this.halted = false;
    this.wakesAt = undefined;
  }

  /** Goes to a handler, as an interrupt or exception does; an error code is pushed where there is one. */
  interrupt(handler: Addr, errorCode?: number): void {
    const { context } = this;
    const { regs } = context;
    const fromUser = context.userMode;
    const frame = [
      regs[REG.rip],
      fromUser ? USER_CS : KERNEL_CS,
      regs[REG.rflags],
      regs[REG.rsp],
      fromUser ? USER_DS : KERNEL_DS,
    ];
    if (errorCode !== undefined) frame.unshift(BigInt(errorCode));
    if (fromUser) context.setUserMode(false);
    const top = fromUser ? this.#sp0() : regs[REG.rsp] & ~15n;
    this.#push(top, frame, handler);
  }

  /** tss.sp0: the stack for an entry from user mode. */
  #sp0(): Addr {
    return this.#core.mem.readU64(this.#core.percpu.address('cpu_tss_rw', this.id) + 4n);
  }

  /** @param frame what is pushed, from the lowest address up. */
  #push(top: Addr, frame: readonly bigint[], handler: Addr): void {
    const { mem, percpu } = this.#core;
    const at = top - BigInt(8 * frame.length);
    if (!mem.isMapped(at, 8 * frame.length)) {
      // No stack to push on: a double fault, on its own stack, with error code 0. CR2 tells which push failed.
      this.cr2 = top;
      do this.cr2 -= 8n;
      while (mem.isMapped(this.cr2, 8));
      const [handlerOfDoubleFault, ist] = [
        this.#core.symbols.require('asm_exc_double_fault'),
        percpu.readU64('double_fault_stack', this.id),
      ];
      this.#push(ist, [0n, ...frame.slice(-5)], handlerOfDoubleFault);
      return;
    }
    mem.writeWords(at, frame);
    const { regs } = this.context;
    regs[REG.rsp] = at;
    regs[REG.rflags] &= CLEARED_BY_INTERRUPT;
    regs[REG.rip] = handler;
    this.context.touch();
    this.#onInterrupt(this, top - BigInt(this.#core.kernel.structs.pt_regs.size));
  }

  /** The syscall instruction at ring 3: RIP is already behind it. */
  syscall(entry: Addr): void {
    const { regs } = this.context;
    regs[REG.rcx] = regs[REG.rip];
    regs[REG.r11] = regs[REG.rflags];
    regs[REG.rflags] &= CLEARED_BY_SYSCALL;
    regs[REG.rip] = entry;
    this.context.setUserMode(false);
  }

  /** Index of the stack slot it is on; -1 when it is on no task stack. */
  stackSlot(): number {
    return this.sp >> 32n === 0xffffc900n ? lo32(this.sp - 1n) >>> 15 : -1;
  }
}
