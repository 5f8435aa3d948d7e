// How live text is changed while other CPUs may be executing it.
// Mirrors arch/x86/kernel/alternative.c: text_poke_bp_batch, poke_int3_handler, text_poke_early.
//
// Invariant: between two steps the site is always either the old instruction, a breakpoint that
// breakpointHandler carries every CPU over, or the new one; never a mixture of their bytes.

import type { Breakpoint, CarryOver } from '../arch/poking.ts';
import { ptRegsOffset } from '../arch/pt_regs.ts';
import type { Addr } from '../guest/addr.ts';
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

/** Where an instruction is to be replaced. */
interface Site {
  readonly ip: Addr;
}

/** Whether the first bytes are those. */
const beginsWith = (bytes: Readonly<Uint8Array>, first: Readonly<Uint8Array>): boolean =>
  first.every((byte, i) => bytes[i] === byte);

type Step = 'int3' | 'tail' | 'first byte' | 'whole';

export class TextPoke {
  readonly #core: KernelCore;
  readonly #smp: SmpPort;
  /** Offsets in struct pt_regs. */
  readonly #pc: bigint;
  readonly #mode: bigint;
  /** bp_desc: the batch in progress. */
  #poking: { readonly pokes: readonly Poke[]; readonly carryOvers: readonly CarryOver[] } | undefined;

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
    this.#write({ addr, insn }, insn, 0, insn.length, 'whole');
  }

  /** text_poke_queue() of each, then text_poke_finish(). The caller holds text_mutex. */
  *batch(pokes: readonly Poke[]): HostGenerator<void> {
    yield* this.batchOf(
      pokes.map(({ addr, insn }) => ({ ip: addr, insn })),
      ({ insn }) => insn,
    );
  }

  /** As batch(), of sites whose instructions are made when their turn comes. */
  *batchOf<S extends Site>(
    sites: readonly S[],
    insnOf: (site: S) => Readonly<Uint8Array>,
  ): HostGenerator<void> {
    const isSorted = sites.every(({ ip }, i) => i === 0 || sites[i - 1].ip < ip);
    const sorted = isSorted ? sites : [...sites].sort((a, b) => (a.ip < b.ip ? -1 : 1));
    for (let i = 0; i < sorted.length; i += TP_VEC_MAX)
      yield* this.#batch(
        sorted.slice(i, i + TP_VEC_MAX).map((site) => ({ addr: site.ip, insn: insnOf(site) })),
      );
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
    this.#poking = { pokes, carryOvers: pokes.map(({ addr, insn }) => breakpoint.carryOver(addr, insn)) };
    for (const poke of pokes) this.#write(poke, breakpoint.insn, 0, head, 'int3');
    yield* this.#smp.syncCores();
    for (const poke of pokes) {
      if (poke.insn.length > head) this.#write(poke, poke.insn, head, poke.insn.length, 'tail');
    }
    yield* this.#smp.syncCores();
    for (const poke of pokes) {
      if (!beginsWith(poke.insn, breakpoint.insn)) this.#write(poke, poke.insn, 0, head, 'first byte');
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
    const carryOver = this.#poking.carryOvers[this.#poking.pokes.findIndex(({ addr }) => addr === site)];
    if (!carryOver) return false;
    const { text, callee } = carryOver(mem, regs);
    const emulated = callee === undefined ? text : `${text} ${this.#core.sym(callee)}`;
    events.emit({ type: 'int3', addr: site, where: this.#core.sym(site), emulated });
    return true;
  }

  /** Writes bytes [from, to) of the instruction's, of those given, and says what it looked like before and after. */
  #write({ addr, insn }: Poke, bytes: Readonly<Uint8Array>, from: number, to: number, step: Step): void {
    const { mem, events } = this.#core;
    if (!events.listens('poke')) {
      mem.pokeInsn(addr, bytes, from, to);
      return;
    }
    const before = mem.readBytes(addr, insn.length);
    mem.pokeInsn(addr, bytes, from, to);
    const after = mem.readBytes(addr, insn.length);
    events.emit({ type: 'poke', addr, where: this.#core.sym(addr), step, before, after });
  }
}
