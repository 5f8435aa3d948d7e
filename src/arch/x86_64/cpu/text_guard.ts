// Keeps instructions from the engine that end the process when it translates them, or that it does wrong.
//
// The engine translates the whole straight run from where it is, and the run that the last transfer of a slice leads
// to. So each run is looked at before the engine can get to it: where it begins, where its direct branch leads to, and
// (X86Blocks) where an indirect one leads to, once that is known. Memory keeps its bytes: the engine is told to
// stop before such an instruction, and the machine does what a processor does with it.
//
// Invariant: nothing is named by where it might be an instruction, only by where the guest executes it as one.

import { type Addr, lo32, MODULES_VADDR } from '../../../guest/addr.ts';
import type { Engine } from '../../../guest/engine.ts';
import { type GuestMemory, type MapListener, PAGE_SIZE, PROT_EXEC } from '../../../guest/memory.ts';
import {
  DEBUG_REGISTER,
  decodeAt,
  FLOW_CALL,
  FLOW_INVALID,
  FLOW_JCC,
  FLOW_JMP,
  FLOW_NEXT,
  Insn,
  isPrefix,
  MAX_LENGTH,
} from '../../../isa/decoder.ts';
import { hasEarlyRex, isRefused } from '../../../isa/refused.ts';

/** Below it, in the kernel's half, is the image. */
const MODULES_LO = lo32(MODULES_VADDR);

export class TextGuard implements MapListener {
  readonly #engine: Engine;
  readonly #mem: GuestMemory;
  /** What the runs that were looked at lead to, by the low half of where they begin. */
  readonly #runs = new Map<number, readonly Addr[]>();
  /** Those whose next runs were looked at, too. */
  readonly #seen = new Set<number>();
  /** Of both, those outside of the image. */
  readonly #modules: number[] = [];
  #named = false;
  readonly #swept = new Map<Addr, number>();
  readonly #insn = new Insn();

  constructor(engine: Engine, mem: GuestMemory) {
    this.#engine = engine;
    this.#mem = mem;
  }

  /** Text was changed, mapped or unmapped. That of the image changes at fentry sites alone, between nops and calls. */
  textChanged(): void {
    for (const at of this.#modules) {
      this.#seen.delete(at);
      this.#runs.delete(at);
    }
    this.#modules.length = 0;
    if (!this.#named) return;
    this.#named = false;
    this.#seen.clear();
    this.#runs.clear();
    this.#engine.stopNowhere();
  }

  /** Before the engine executes from an address, or may translate what is there. */
  look(addr: Addr): void {
    const lo = lo32(addr);
    if (this.#seen.has(lo)) return;
    this.#seen.add(lo);
    if (lo >= MODULES_LO) this.#modules.push(lo);
    for (const next of this.#lookAtRun(addr)) this.#lookAtRun(next);
  }

  protect(base: Addr, size: number, prot: number): void {
    if (prot & PROT_EXEC) this.#sweep(base, size);
    else this.unmap(base, size);
  }

  /** For code that nobody looks at run by run: all that can be found from its beginning on. */
  #sweep(base: Addr, size: number): void {
    this.#swept.set(base, size);
    const bytes = this.#mem.view(base, size);
    const insn = this.#insn;
    for (let at = 0; at < size; at += insn.length || 1) {
      decodeAt(bytes, at, 0, insn);
      if (insn.length > 0 && isKept(bytes, at, insn)) this.#stopBefore(base + BigInt(at));
    }
  }

  /** It is gone, or no code any more. */
  unmap(base: Addr, size: number): void {
    const gone = [...this.#swept.keys()].filter((at) => at >= base && at < base + BigInt(size));
    for (const at of gone) this.#swept.delete(at);
    if (gone.length === 0 || !this.#named) return;
    this.#engine.stopNowhere();
    for (const [at, bytes] of [...this.#swept]) this.#sweep(at, bytes);
  }

  #lookAtRun(addr: Addr): readonly Addr[] {
    const lo = lo32(addr);
    let ends = this.#runs.get(lo);
    if (!ends) {
      ends = this.#endsOf(addr, lo);
      this.#runs.set(lo, ends);
      if (lo >= MODULES_LO) this.#modules.push(lo);
    }
    return ends;
  }

  /** Goes through a run and names what the engine must not meet. @returns where its branch leads to. */
  #endsOf(addr: Addr, lo: number): readonly Addr[] {
    const bytes = this.#bytesFrom(addr);
    const insn = this.#insn;
    for (let at = 0; at < bytes.length; at += insn.length) {
      decodeAt(bytes, at, lo + at, insn);
      if (insn.flow === FLOW_INVALID) {
        if (isUndefined(bytes, at)) this.#stopBefore(addr + BigInt(at));
        return [];
      }
      if (isKept(bytes, at, insn)) this.#stopBefore(addr + BigInt(at));
      if (insn.flow === FLOW_NEXT) continue;
      const next = addr + BigInt(at + insn.length);
      const target = BigInt.asUintN(64, next + BigInt(insn.imm));
      if (insn.flow === FLOW_JCC) return [next, target];
      return insn.flow === FLOW_CALL || insn.flow === FLOW_JMP ? [target] : [];
    }
    return [];
  }

  #stopBefore(addr: Addr): void {
    this.#named = true;
    this.#engine.stopBefore(addr);
  }

  /** As far as one translation reaches, and the next page's if it ends there; what of that is mapped. */
  #bytesFrom(addr: Addr): Uint8Array {
    const toPage = PAGE_SIZE - (lo32(addr) & (PAGE_SIZE - 1));
    for (const size of [toPage + 2 * PAGE_SIZE, toPage + PAGE_SIZE, toPage])
      if (this.#mem.isMapped(addr, size)) return this.#mem.view(addr, size);
    return new Uint8Array();
  }
}

/** Is the instruction one for the machine itself? */
function isKept(bytes: Uint8Array, at: number, insn: Insn): boolean {
  if (insn.vex || insn.facts & DEBUG_REGISTER) return true;
  return insn.length > 1 && (hasEarlyRex(bytes, at) || isRefused(insn));
}

/** No instruction, rather than one whose end is not there or that is longer than may be. */
function isUndefined(bytes: Uint8Array, start: number): boolean {
  if (bytes.length - start < MAX_LENGTH) return false;
  for (let at = start; isPrefix(bytes[at]); at++)
    if (at - start >= MAX_LENGTH - 1 || decodeAt(bytes, at + 1, 0, probe).flow !== FLOW_INVALID) return false;
  return true;
}

const probe = new Insn();
