// What hardware does to a CPU: interrupts, exceptions, the system call instruction, debug registers.
// Mirrors the Intel SDM vol. 3A chapter 6 for what is pushed, and the kernel's IDT for where it goes.

import type { Addr } from '../../../guest/addr.ts';
import type { CpuContext, Stop } from '../../../guest/engine.ts';
import { DEBUG_REGISTER, DIVIDES, decodeAt, type Insn, MAX_LENGTH } from '../../../isa/decoder.ts';
import { OPCODE } from '../../../isa/opcodes.ts';
import type { KernelSide } from '../../kernel_side.ts';
import type { FirstStack, Interrupt, Processor, ProcessorParts } from '../../processor.ts';
import { REG } from '../context.ts';
import { SELECTOR, TSS_RSP0 } from '../gdt.ts';
import { PT_REGS_SIZE } from '../pt_regs.ts';
import { RFLAGS } from '../rflags.ts';
import { PF_INSTR, PF_PROT, PF_USER, PF_WRITE } from '../traps/fault_codes.ts';
import { DebugRegisters } from './debug_registers.ts';

const [USER_CS, USER_DS] = [BigInt(SELECTOR.USER_CS), BigInt(SELECTOR.USER_DS)];
const [KERNEL_CS, KERNEL_DS] = [BigInt(SELECTOR.KERNEL_CS), BigInt(SELECTOR.KERNEL_DS)];
const { IF, TF, DF, NT, RF, AC } = RFLAGS;
const CLEARED_BY_INTERRUPT = ~(IF | TF | NT | RF);
/** MSR_SYSCALL_MASK as the kernel sets it. */
const CLEARED_BY_SYSCALL = ~(IF | TF | DF | AC | NT);

const VECTORS = [
  'entry_SYSCALL_64',
  'asm_exc_divide_error',
  'asm_exc_int3',
  'asm_exc_invalid_op',
  'asm_exc_general_protection',
  'asm_exc_page_fault',
  'asm_exc_double_fault',
  'asm_exc_simd_coprocessor_error',
  'asm_sysvec_apic_timer_interrupt',
  'asm_sysvec_reschedule_ipi',
] as const;

export class X86Processor implements Processor {
  readonly #id: number;
  readonly #context: CpuContext;
  readonly #kernel: KernelSide;
  readonly #interrupted: (regs: Addr) => void;
  readonly #vectors: Readonly<Record<(typeof VECTORS)[number], Addr>>;
  readonly #debug = new DebugRegisters();
  /** CR2. */
  faultAddress: Addr = 0n;

  constructor({ id, context, kernel, interrupted }: ProcessorParts) {
    this.#id = id;
    this.#context = context;
    this.#kernel = kernel;
    this.#interrupted = interrupted;
    const vectors = VECTORS.map((name) => [name, kernel.symbols.require(name)]);
    this.#vectors = Object.fromEntries(vectors);
  }

  get interruptsOn(): boolean {
    return (this.#context.regs[REG.rflags] & IF) !== 0n;
  }
  set interruptsOn(on: boolean) {
    const { regs } = this.#context;
    regs[REG.rflags] = on ? regs[REG.rflags] | IF : regs[REG.rflags] & ~IF;
    this.#context.touch();
  }

  start({ sp, top, makeStack }: FirstStack): void {
    const { mem, percpu, symbols } = this.#kernel;
    const { regs } = this.#context;
    regs.fill(0n);
    regs[REG.rip] = symbols.require('secondary_startup_64');
    regs[REG.rsp] = sp;
    regs[REG.rflags] = RFLAGS.FIXED;
    this.#context.perCpuBase = percpu.base[this.#id];
    this.#context.touch();
    percpu.writeU64('this_cpu_off', this.#id, percpu.base[this.#id]);
    percpu.writeU64('cpu_current_top_of_stack', this.#id, top);
    mem.writeU64(percpu.address('cpu_tss_rw', this.#id) + BigInt(TSS_RSP0), top);
    percpu.writeU64('double_fault_stack', this.#id, makeStack());
  }

  interrupt(which: Interrupt): void {
    const { asm_sysvec_apic_timer_interrupt: timer, asm_sysvec_reschedule_ipi: ipi } = this.#vectors;
    this.#enter(which === 'timer' ? timer : ipi);
  }

  enter(stop: Stop): void {
    const vectors = this.#vectors;
    switch (stop.kind) {
      case 'syscall':
        this.#syscall();
        return;
      case 'trap':
        this.#int();
        return;
      case 'undefined instruction':
        this.#enter(vectors.asm_exc_invalid_op);
        return;
      case 'refused':
        this.#refused();
        return;
      case 'page fault':
        this.#pageFault(stop);
        return;
      case 'floating point':
        this.#enter(vectors.asm_exc_simd_coprocessor_error);
        return;
      case 'exception':
        if (this.#isDivision()) this.#enter(vectors.asm_exc_divide_error);
        else this.#enter(vectors.asm_exc_general_protection, 0);
        return;
    }
  }

  readFault(addr: Addr): void {
    this.faultAddress = addr;
    this.#enter(this.#vectors.asm_exc_page_fault, 0);
  }

  /** Goes to a handler, as an interrupt or exception does; an error code is pushed where there is one. */
  #enter(handler: Addr, errorCode?: number): void {
    const context = this.#context;
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

  /** RSP0: the stack for an entry from user mode. */
  #sp0(): Addr {
    const { mem, percpu } = this.#kernel;
    return mem.readU64(percpu.address('cpu_tss_rw', this.#id) + BigInt(TSS_RSP0));
  }

  /** @param frame what is pushed, from the lowest address up. */
  #push(top: Addr, frame: readonly bigint[], handler: Addr): void {
    const { mem, percpu } = this.#kernel;
    const at = top - BigInt(8 * frame.length);
    if (!mem.isMapped(at, 8 * frame.length)) {
      // No stack to push on: a double fault, on its own stack, with error code 0. CR2 tells which push failed.
      this.faultAddress = top;
      do this.faultAddress -= 8n;
      while (mem.isMapped(this.faultAddress, 8));
      const ist = percpu.readU64('double_fault_stack', this.#id);
      this.#push(ist, [0n, ...frame.slice(-5)], this.#vectors.asm_exc_double_fault);
      return;
    }
    mem.writeWords(at, frame);
    const { regs } = this.#context;
    regs[REG.rsp] = at;
    regs[REG.rflags] &= CLEARED_BY_INTERRUPT;
    regs[REG.rip] = handler;
    this.#context.touch();
    this.#interrupted(top - BigInt(PT_REGS_SIZE));
  }

  /** The syscall instruction at ring 3: RIP is already behind it. */
  #syscall(): void {
    const { regs } = this.#context;
    regs[REG.rcx] = regs[REG.rip];
    regs[REG.r11] = regs[REG.rflags];
    regs[REG.rflags] &= CLEARED_BY_SYSCALL;
    regs[REG.rip] = this.#vectors.entry_SYSCALL_64;
    this.#context.setUserMode(false);
  }

  /** What the engine was kept from: a debug register, or what is no instruction. */
  #refused(): void {
    const insn = this.#instruction(this.#context.regs[REG.rip]);
    if (!insn || !(insn.facts & DEBUG_REGISTER)) this.#enter(this.#vectors.asm_exc_invalid_op);
    else if (!this.#debug.move(this.#context, insn)) this.#enter(this.#vectors.asm_exc_general_protection, 0);
  }

  #instruction(at: Addr): Insn | undefined {
    const { mem } = this.#kernel;
    for (let size = MAX_LENGTH; size > 0; size--)
      if (mem.isMapped(at, size)) return decodeAt(mem.view(at, size), 0, 0);
    return undefined;
  }

  /** cc goes to the int3 handler; cd ib, int n, has no gate: a #GP at the instruction. */
  #int(): void {
    const { regs } = this.#context;
    const vector = this.#byte(regs[REG.rip] - 1n);
    if (vector === OPCODE.INT3) {
      this.#enter(this.#vectors.asm_exc_int3);
      return;
    }
    regs[REG.rip] -= 2n;
    this.#context.touch();
    this.#enter(this.#vectors.asm_exc_general_protection, vector * 8 + 2);
  }

  #pageFault(stop: Stop): void {
    const canonical = stop.faultAddr >> 47n === 0n || stop.faultAddr >> 47n === 0x1ffffn;
    if (!canonical) {
      this.#enter(this.#vectors.asm_exc_general_protection, 0);
      return;
    }
    this.faultAddress = stop.faultAddr;
    let error = stop.unmapped ? 0 : PF_PROT;
    if (stop.access === 'write') error |= PF_WRITE;
    if (stop.access === 'fetch') error |= PF_INSTR;
    if (this.#context.userMode) error |= PF_USER;
    this.#enter(this.#vectors.asm_exc_page_fault, error);
  }

  /** div and idiv: nothing else faults by the value of its operands. */
  #isDivision(): boolean {
    return ((this.#instruction(this.#context.regs[REG.rip])?.facts ?? 0) & DIVIDES) !== 0;
  }

  #byte(addr: bigint): number {
    const { mem } = this.#kernel;
    return mem.isMapped(addr) ? mem.readU8(addr) : -1;
  }
}
