// How live text is changed while other CPUs may be executing it.
// Mirrors arch/x86/kernel/alternative.c: text_poke_bp_batch, poke_int3_handler, text_poke_early.
//
// Invariant: between two steps the site is always either the old instruction, an int3 that
// pokeInt3Handler carries every CPU over, or the new one; never a mixture of their bytes.

import type { Addr } from '../guest/addr.ts';
import type { HostGenerator } from '../guest/hostcall.ts';
import type { KernelCore } from '../kernel/core.ts';
import type { Structs } from '../kernel/description.ts';
import { CALL, CALL_SIZE, INT3, JMP8, JMP32, NOP2, NOP5, RET, sameBytes, targetOf } from './insn.ts';
import type { SmpPort } from './ports.ts';

/** TP_VEC_MAX: entries of one batch, a page of struct text_poke_loc. */
const TP_VEC_MAX = 256;

/** One instruction to be replaced. */
export interface Poke {
  readonly addr: Addr;
  readonly insn: Uint8Array;
}

type Step = 'int3' | 'tail' | 'first byte' | 'whole';

/** What the int3 at a site stands for while it is being poked. */
type Emulation = { kind: 'call' | 'jmp'; target: Addr; text: string } | { kind: 'ret'; text: string };

export class TextPoke {
  readonly #core: KernelCore;
  readonly #ptRegs: Structs['pt_regs']['fields'];
  readonly #smp: SmpPort;
  /** bp_desc: the batch in progress, by address of the int3. */
  #poking: ReadonlyMap<Addr, Emulation> | undefined;

  constructor(core: KernelCore, smp: SmpPort) {
    this.#core = core;
    this.#ptRegs = core.kernel.structs.pt_regs.fields;
    this.#smp = smp;
  }

  /** Is a batch between its first step and its last? */
  get busy(): boolean {
    return this.#poking !== undefined;
  }

  /** text_poke_early(): in one write, for text that nothing executes yet (boot, module load). */
  early(addr: Addr, insn: Uint8Array): void {
    this.#write(addr, insn, addr, insn.length, 'whole');
  }

  /** text_poke_queue() of each, then text_poke_finish(). The caller holds text_mutex. */
  *batch(pokes: readonly Poke[]): HostGenerator<void> {
    const sorted = [...pokes].sort((a, b) => (a.addr < b.addr ? -1 : a.addr > b.addr ? 1 : 0));
    for (let i = 0; i < sorted.length; i += TP_VEC_MAX) yield* this.#batch(sorted.slice(i, i + TP_VEC_MAX));
  }

  /** text_poke_bp(): one instruction. The caller holds text_mutex. */
  *bp(addr: Addr, insn: Uint8Array): HostGenerator<void> {
    yield* this.#batch([{ addr, insn }]);
  }

  *#batch(pokes: readonly Poke[]): HostGenerator<void> {
    this.#poking = new Map(pokes.map(({ addr, insn }) => [addr, emulationOf(addr, insn)]));
    for (const { addr, insn } of pokes) this.#write(addr, Uint8Array.of(INT3), addr, insn.length, 'int3');
    yield* this.#smp.syncCores();
    for (const { addr, insn } of pokes) {
      if (insn.length > 1) this.#write(addr + 1n, insn.subarray(1), addr, insn.length, 'tail');
    }
    yield* this.#smp.syncCores();
    for (const { addr, insn } of pokes) {
      if (insn[0] !== INT3) this.#write(addr, insn.subarray(0, 1), addr, insn.length, 'first byte');
    }
    yield* this.#smp.syncCores();
    this.#poking = undefined;
  }

  /**
   * An int3 trap in kernel mode: carries the CPU over a site that is being poked, by changing its
   * pt_regs as the new instruction would have.
   * @param regs address of the trap's struct pt_regs; room for a push lies between it and its stack.
   * @returns false when the int3 is not ours.
   */
  int3Handler(regs: Addr): boolean {
    const { mem, events } = this.#core;
    if ((mem.readU64(regs + BigInt(this.#ptRegs.cs)) & 3n) !== 0n) return false;
    const ip = mem.readU64(regs + BigInt(this.#ptRegs.ip)) - 1n;
    const emulation = this.#poking?.get(ip);
    if (!emulation) return false;
    const spAt = regs + BigInt(this.#ptRegs.sp);
    const sp = mem.readU64(spAt);
    let next: Addr;
    if (emulation.kind === 'ret') {
      next = mem.readU64(sp);
      mem.writeU64(spAt, sp + 8n);
    } else {
      next = emulation.target;
      if (emulation.kind === 'call') {
        mem.writeU64(spAt, sp - 8n);
        mem.writeU64(sp - 8n, ip + BigInt(CALL_SIZE));
      }
    }
    mem.writeU64(regs + BigInt(this.#ptRegs.ip), next);
    const text = emulation.kind === 'call' ? `call ${this.#core.sym(next)}` : emulation.text;
    events.emit({ type: 'int3', addr: ip, where: this.#core.sym(ip), emulated: text });
    return true;
  }

  /** Writes part of the instruction of `size` bytes at `site`, and says what it looked like before and after. */
  #write(addr: Addr, bytes: Uint8Array, site: Addr, size: number, step: Step): void {
    const { mem, events } = this.#core;
    const before = mem.readBytes(site, size);
    mem.pokeText(addr, bytes);
    const after = mem.readBytes(site, size);
    events.emit({ type: 'poke', addr: site, where: this.#core.sym(site), step, before, after });
  }
}

/**
 * text_poke_loc_init(): what the instruction does, for the handler.
 * @throws RangeError for one that the handler could not carry a CPU over.
 */
function emulationOf(addr: Addr, insn: Uint8Array): Emulation {
  const end = addr + BigInt(insn.length);
  if (insn[0] === CALL && insn.length === 5)
    return { kind: 'call', target: targetOf(addr, insn), text: 'call' };
  if (insn[0] === JMP32 && insn.length === 5)
    return { kind: 'jmp', target: targetOf(addr, insn), text: 'jmp' };
  if (insn[0] === JMP8 && insn.length >= 2) {
    return { kind: 'jmp', target: addr + 2n + BigInt((insn[1] << 24) >> 24), text: 'jmp' };
  }
  if (insn[0] === RET) return { kind: 'ret', text: 'ret' };
  if (sameBytes(insn, NOP5) || sameBytes(insn, NOP2)) return { kind: 'jmp', target: end, text: 'nop' };
  throw new RangeError(`text_poke: ${[...insn].map((b) => b.toString(16)).join(' ')} cannot be emulated`);
}
