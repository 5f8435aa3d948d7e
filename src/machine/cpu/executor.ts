// Executes a CPU for a number of instructions: runs the engine, and serves what ends a run.
// What is served is what hardware would do; everything else is guest code or a host function.

import { REG } from '../../arch/x86_64/context.ts';
import { type Addr, lo32 } from '../../guest/addr.ts';
import type { Engine, Stop } from '../../guest/engine.ts';
import { DEBUG_REGISTER, DIVIDES, decodeAt, type Insn, MAX_LENGTH } from '../../isa/decoder.ts';
import { OPCODE } from '../../isa/opcodes.ts';
import type { KernelCore } from '../../kernel/core.ts';
import type { Cpu } from './cpu.ts';
import type { HostCallDispatch } from './hostcall_dispatch.ts';
import type { ShadowExecutor } from './shadow_exec.ts';

/** Instructions between two looks at IF while an interrupt waits for it. */
const PENDING_CHUNK = 16;

/** High half from which on addresses are the kernel's. */
const KERNEL_HALF = 0x80000000;

/** PF_ error code bits: arch/x86/include/asm/trap_pf.h */
const X86_PF_PROT = 1;
const X86_PF_WRITE = 2;
const X86_PF_USER = 4;
const X86_PF_INSTR = 16;

export class Executor {
  readonly #engine: Engine;
  readonly #core: KernelCore;
  readonly #host: HostCallDispatch;
  readonly #shadow: ShadowExecutor | undefined;
  readonly #nsPerInstruction: number;
  readonly #vectors: Record<string, bigint>;
  readonly #idleWoken: number;
  /** Instructions executed since boot, on all CPUs. */
  instructions = 0;

  constructor(
    engine: Engine,
    core: KernelCore,
    host: HostCallDispatch,
    nsPerInstruction: number,
    idleWoken: Addr,
    shadow: ShadowExecutor | undefined,
  ) {
    this.#engine = engine;
    this.#core = core;
    this.#host = host;
    this.#shadow = shadow;
    this.#nsPerInstruction = nsPerInstruction;
    this.#idleWoken = lo32(idleWoken);
    this.#vectors = Object.fromEntries(
      [
        'entry_SYSCALL_64',
        'asm_exc_divide_error',
        'asm_exc_int3',
        'asm_exc_invalid_op',
        'asm_exc_general_protection',
        'asm_exc_page_fault',
        'asm_sysvec_apic_timer_interrupt',
        'asm_sysvec_reschedule_ipi',
      ].map((name) => [name, core.symbols.require(name)]),
    );
  }

  /** Executes up to `budget` instructions; fewer when the CPU halts or wakes another. @returns how many. */
  run(cpu: Cpu, budget: number): number {
    let left = budget;
    // How much is left when IF is looked at next. The shadow stack makes runs shorter, and must not make
    // interrupts come earlier.
    let look = budget;
    cpu.sliceOver = false;
    while (left > 0 && !cpu.halted && !cpu.sliceOver) {
      if (left <= look) {
        this.#deliverPending(cpu);
        const waiting = cpu.tickPending || cpu.reschedulePending;
        look = waiting ? Math.max(0, left - PENDING_CHUNK) : 0;
      }
      const max = left - look;
      const stop = this.#execute(cpu, max);
      left -= stop.executed;
      cpu.clock += stop.executed * this.#nsPerInstruction;
      this.instructions += stop.executed;
      if (stop.kind !== 'budget') {
        this.#serve(cpu, stop);
        look = left;
      }
    }
    return budget - left;
  }

  #execute(cpu: Cpu, max: number): Stop {
    if (!cpu.context.userMode)
      return this.#shadow ? this.#shadow.run(cpu, max) : this.#engine.run(cpu.context, max);
    return cpu.context.halves[2 * REG.rip + 1] >= KERNEL_HALF
      ? this.#userInKernelText(cpu)
      : this.#engine.run(cpu.context, max);
  }

  /** The engine does not keep user mode out of the kernel's pages. */
  #userInKernelText(cpu: Cpu): Stop {
    return {
      kind: 'page fault',
      executed: 0,
      faultAddr: cpu.pc,
      access: 'fetch',
      unmapped: !this.#core.mem.isMapped(cpu.pc),
    };
  }

  /** Interrupts that wait are taken as soon as the CPU lets them in. */
  #deliverPending(cpu: Cpu): void {
    if (!cpu.tickPending && !cpu.reschedulePending) return;
    if (!cpu.interruptsOn) return;
    // sti lets interrupts in after the next instruction: one between it and the idle loop's hlt would be served,
    // and the CPU halt with work to do.
    if (cpu.context.halves[2 * REG.rip] === this.#idleWoken - 1) return;
    if (cpu.tickPending) {
      cpu.tickPending = false;
      cpu.interrupt(this.#vectors.asm_sysvec_apic_timer_interrupt);
    } else {
      cpu.reschedulePending = false;
      cpu.interrupt(this.#vectors.asm_sysvec_reschedule_ipi);
    }
  }

  #serve(cpu: Cpu, stop: Stop): void {
    switch (stop.kind) {
      case 'halt':
        if (this.#host.dispatch(cpu)) return;
        this.#halt(cpu);
        return;
      case 'syscall':
        cpu.syscall(this.#vectors.entry_SYSCALL_64);
        return;
      case 'trap':
        this.#int(cpu);
        return;
      case 'undefined instruction':
        cpu.interrupt(this.#vectors.asm_exc_invalid_op);
        return;
      case 'refused':
        this.#refused(cpu);
        return;
      case 'page fault':
        this.#pageFault(cpu, stop);
        return;
      case 'exception':
        if (this.#isDivision(cpu)) cpu.interrupt(this.#vectors.asm_exc_divide_error);
        else cpu.interrupt(this.#vectors.asm_exc_general_protection, 0);
        return;
      case 'budget':
        return;
    }
  }

  /** hlt: in the idle loop it waits for whatever comes; elsewhere the tick goes on. With interrupts off it is the end. */
  #halt(cpu: Cpu): void {
    if (!cpu.interruptsOn) cpu.stop();
    else if (!cpu.tickPending && !cpu.reschedulePending)
      cpu.halt(cpu.context.halves[2 * REG.rip] === this.#idleWoken ? undefined : cpu.nextTick);
  }

  /** What the engine was kept from: a debug register, or what is no instruction. */
  #refused(cpu: Cpu): void {
    const insn = this.#instruction(cpu.pc);
    if (!insn || !(insn.facts & DEBUG_REGISTER)) cpu.interrupt(this.#vectors.asm_exc_invalid_op);
    else if (!cpu.debug.move(cpu, insn)) cpu.interrupt(this.#vectors.asm_exc_general_protection, 0);
  }

  #instruction(at: Addr): Insn | undefined {
    for (let size = MAX_LENGTH; size > 0; size--)
      if (this.#core.mem.isMapped(at, size)) return decodeAt(this.#core.mem.view(at, size), 0, 0);
    return undefined;
  }

  /** cc goes to the int3 handler; cd ib, int n, has no gate: a #GP at the instruction. */
  #int(cpu: Cpu): void {
    if (this.#byte(cpu.pc - 1n) === OPCODE.INT3) {
      cpu.interrupt(this.#vectors.asm_exc_int3);
      return;
    }
    const vector = this.#byte(cpu.pc - 1n);
    cpu.pc -= 2n;
    cpu.interrupt(this.#vectors.asm_exc_general_protection, vector * 8 + 2);
  }

  #pageFault(cpu: Cpu, stop: Stop): void {
    const canonical = stop.faultAddr >> 47n === 0n || stop.faultAddr >> 47n === 0x1ffffn;
    if (!canonical) {
      cpu.interrupt(this.#vectors.asm_exc_general_protection, 0);
      return;
    }
    cpu.cr2 = stop.faultAddr;
    let error = stop.unmapped ? 0 : X86_PF_PROT;
    if (stop.access === 'write') error |= X86_PF_WRITE;
    if (stop.access === 'fetch') error |= X86_PF_INSTR;
    if (cpu.context.userMode) error |= X86_PF_USER;
    cpu.interrupt(this.#vectors.asm_exc_page_fault, error);
  }

  /** div and idiv: nothing else faults by the value of its operands. */
  #isDivision(cpu: Cpu): boolean {
    return ((this.#instruction(cpu.pc)?.facts ?? 0) & DIVIDES) !== 0;
  }

  #byte(addr: bigint): number {
    return this.#core.mem.isMapped(addr) ? this.#core.mem.readU8(addr) : -1;
  }
}
