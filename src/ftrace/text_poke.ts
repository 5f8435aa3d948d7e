// How live text is changed while other CPUs may be executing it.
// Mirrors arch/x86/kernel/alternative.c: text_poke_bp_batch, poke_int3_handler, text_poke_early.
//
// Invariant: between two steps the site is always either the old instruction, a breakpoint that
// breakpointHandler carries every CPU over, or the new one; never a mixture of their bytes.

import type { Breakpoint, CarryOver } from '../arch/poking.ts';
import { ptRegsOffset } from '../arch/pt_regs.ts';
import type { Addr } from '../guest/addr.ts';
import { sameBytes } from '../guest/bytes.ts';
import type { HostGenerator } from '../guest/hostcall.ts';
import type { KernelCore } from '../kernel/core.ts';
import type { SmpPort } from './ports.ts';

/** TP_VEC_MAX: entries of one batch, a page of struct text_poke_loc. */
const TP_VEC_MAX = 256;

/** One instruction to be replaced. */
export interface Poke {
  readonly addr: Addr;
  readonly insn: Readonly<Uint8Array>;
}

type Step = 'int3' | 'tail' | 'first byte' | 'whole';

export class TextPoke {
  readonly #core: KernelCore;
  readonly #smp: SmpPort;
  /** Offsets in struct pt_regs. */
  readonly #pc: bigint;
  readonly #mode: bigint;
  /** bp_desc: the batch in progress, by address of the breakpoint. */
  #poking: ReadonlyMap<Addr, CarryOver> | undefined;

  constructor(core: KernelCore, smp: SmpPort) {
    this.#core = core;
    this.#smp = smp;
    const { ptRegs } = core.arch;
    this.#pc = BigInt(ptRegsOffset(ptRegs, ptRegs.pc));
    this.#mode = BigInt(ptRegsOffset(ptRegs, ptRegs.mode.word));
  }

  /** Is a batch between its first step and its last? */
  get busy(): boolean {
    return this.#poking !== undefined;
  }

  /** text_poke_early(): in one write, for text that nothing executes yet (boot, module load). */
  early(addr: Addr, insn: Readonly<Uint8Array>): void {
    this.#write(addr, insn, addr, insn.length, 'whole');
  }

  /** text_poke_queue() of each, then text_poke_finish(). The caller holds text_mutex. */
  *batch(pokes: readonly Poke[]): HostGenerator<void> {
    const sorted = [...pokes].sort((a, b) => (a.addr < b.addr ? -1 : 1));
    for (let i = 0; i < sorted.length; i += TP_VEC_MAX)
      yield* this.#batch(sorted.slice(i, i + TP_VEC_MAX).map(({ addr, insn }) => ({ addr, insn })));
  }

  /** text_poke_bp(): one instruction. The caller holds text_mutex. */
  *poke(addr: Addr, insn: Readonly<Uint8Array>): HostGenerator<void> {
    yield* this.#batch([{ addr, insn }]);
  }

  *#batch(pokes: readonly Poke[]): HostGenerator<void> {
    const { breakpoint } = this.#core.arch.poking;
    if (breakpoint) {
      yield* this.#byBreakpoint(breakpoint, pokes);
      return;
    }
    for (const { addr, insn } of pokes) this.early(addr, insn);
    yield* this.#smp.syncCores();
  }

  *#byBreakpoint(breakpoint: Breakpoint, pokes: readonly Poke[]): HostGenerator<void> {
    const head = breakpoint.insn.length;
    this.#poking = new Map(pokes.map(({ addr, insn }) => [addr, breakpoint.carryOver(addr, insn)]));
    for (const { addr, insn } of pokes) this.#write(addr, breakpoint.insn, addr, insn.length, 'int3');
    yield* this.#smp.syncCores();
    for (const { addr, insn } of pokes) {
      if (insn.length > head) {
        this.#write(addr + BigInt(head), insn.subarray(head), addr, insn.length, 'tail');
      }
    }
    yield* this.#smp.syncCores();
    for (const { addr, insn } of pokes) {
      const first = insn.subarray(0, head);
      if (!sameBytes(first, breakpoint.insn)) this.#write(addr, first, addr, insn.length, 'first byte');
    }
    yield* this.#smp.syncCores();
    this.#poking = undefined;
  }

  /**
   * A breakpoint's trap in kernel mode: carries the CPU over a site that is being poked, by changing its
   * pt_regs as the new instruction would have.
   * @param regs address of the trap's struct pt_regs; room for a push lies between it and its stack.
   * @returns false when the breakpoint is not ours.
   */
  breakpointHandler(regs: Addr): boolean {
    const { mem, events, arch } = this.#core;
    const { breakpoint } = arch.poking;
    if (!this.#poking || !breakpoint) return false;
    if (arch.ptRegs.mode.isUser(mem.readU32(regs + this.#mode))) return false;
    const site = breakpoint.site(mem.readU64(regs + this.#pc));
    const carryOver = this.#poking.get(site);
    if (!carryOver) return false;
    const { text, callee } = carryOver(mem, regs);
    const emulated = callee === undefined ? text : `${text} ${this.#core.sym(callee)}`;
    events.emit({ type: 'int3', addr: site, where: this.#core.sym(site), emulated });
    return true;
  }

  /** Writes part of the instruction of `size` bytes at `site`, and says what it looked like before and after. */
  #write(addr: Addr, bytes: Readonly<Uint8Array>, site: Addr, size: number, step: Step): void {
    const { mem, events } = this.#core;
    if (!events.listens('poke')) {
      mem.pokeText(addr, bytes);
      return;
    }
    const before = mem.readBytes(site, size);
    mem.pokeText(addr, bytes);
    const after = mem.readBytes(site, size);
    events.emit({ type: 'poke', addr: site, where: this.#core.sym(site), step, before, after });
  }
}
