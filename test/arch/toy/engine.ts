// The CPU port over the interpreter: contexts are plain register files, and nothing is translated, so nothing has to be
// forgotten.

import type { ArchEngine } from '../../../src/arch/engine.ts';
import type { Addr } from '../../../src/guest/addr.ts';
import type { CpuContext, Stop, StopKind } from '../../../src/guest/engine.ts';
import type { GuestMemory, SharedAllocator } from '../../../src/guest/memory.ts';
import { interpret, type ToyStop } from './interpreter.ts';
import { R, REGISTERS, STATUS_USER } from './isa.ts';

class ToyContext implements CpuContext {
  readonly regs = new BigUint64Array(REGISTERS.length);
  readonly halves = new Uint32Array(this.regs.buffer);

  get userMode(): boolean {
    return (this.halves[2 * R.status] & STATUS_USER) !== 0;
  }
  setUserMode(user: boolean): void {
    const status = this.halves[2 * R.status] & ~STATUS_USER;
    this.regs[R.status] = BigInt(user ? status | STATUS_USER : status);
  }
  get perCpuBase(): Addr {
    return this.regs[R.cpu];
  }
  set perCpuBase(base: Addr) {
    this.regs[R.cpu] = base;
  }
  touch(): void {}
}

const KINDS: Readonly<Record<ToyStop, StopKind>> = {
  budget: 'budget',
  wait: 'halt',
  sys: 'syscall',
  brk: 'trap',
  invalid: 'undefined instruction',
  fault: 'page fault',
  refused: 'refused',
};

export class ToyEngine implements ArchEngine {
  #mem: GuestMemory | undefined;
  readonly #refused = new Set<Addr>();
  readonly #stop: Stop = { kind: 'budget', executed: 0, faultAddr: 0n, access: 'read', unmapped: true };

  readonly allocate: SharedAllocator = (bytes) => ({ buffer: new ArrayBuffer(bytes), start: 0 });

  loadTables(mem: GuestMemory): void {
    this.#mem = mem;
  }
  newContext(): CpuContext {
    return new ToyContext();
  }
  run(context: CpuContext, max: number): Stop {
    if (!this.#mem) throw new Error('no memory was loaded');
    const { why, executed, faultAddr, access } = interpret(context.regs, this.#mem, max, this.#refused);
    return Object.assign(this.#stop, { kind: KINDS[why], executed, faultAddr, access, unmapped: true });
  }
  stopBefore(addr: Addr): void {
    this.#refused.add(addr);
  }
  stopNowhere(): void {
    this.#refused.clear();
  }
  close(): void {}
  map(): void {}
  unmap(): void {}
  protect(): void {}
  invalidate(): void {}
}
