// The CPU port: what the rest of the machine knows of the thing that executes guest instructions.
// One engine serves all emulated CPUs; each CPU is a context that is loaded into it for a slice.

import type { Addr } from './addr.ts';
import type { MapListener, SharedAllocator } from './memory.ts';

/** Index of a general register in a context, in encoding order. */
export const REG = {
  rax: 0,
  rcx: 1,
  rdx: 2,
  rbx: 3,
  rsp: 4,
  rbp: 5,
  rsi: 6,
  rdi: 7,
  r8: 8,
  r9: 9,
  r10: 10,
  r11: 11,
  r12: 12,
  r13: 13,
  r14: 14,
  r15: 15,
  rip: 16,
  rflags: 17,
} as const;
export type RegName = keyof typeof REG;

/** The architectural state of one emulated CPU while the engine does something else. */
export interface CpuContext {
  /** The 16 general registers, RIP and RFLAGS as 64-bit values, indexed by REG. Reading is free. */
  readonly regs: BigUint64Array;
  /** The same as 32-bit halves: low half of register r at 2*r, high half at 2*r+1. */
  readonly halves: Uint32Array;
  /** Current privilege level: 0 or 3. */
  readonly cpl: number;
  gsBase: Addr;
  /** Marks registers written by the host, so that the engine loads them before it runs on. */
  touch(): void;
  /** Makes this context's segments those of ring 0 or ring 3 (the hardware's part of a privilege change). */
  setRing(ring: 0 | 3): void;
}

export type StopKind =
  /** The budget is used up. */
  | 'budget'
  /** The address that runTo() was to get to. */
  | 'until'
  /** hlt: RIP is behind it. */
  | 'hlt'
  /** syscall at ring 3: RIP is behind it; RCX and R11 are the host's to set. */
  | 'syscall'
  /** int3 (cc) or int n: RIP is behind it. */
  | 'int'
  /** Undefined instruction (ud2 and others): RIP is at it. */
  | 'invalid opcode'
  /** An instruction that stopBefore() named: RIP is at it. */
  | 'refused'
  /** Memory: not mapped, or against its protection; RIP is at the instruction. */
  | 'page fault'
  /** Division error, or #GP: RIP is at the instruction. */
  | 'exception';

/** Why a run ended. The object is the engine's own and valid until its next run. */
export interface Stop {
  kind: StopKind;
  /** Instructions completed, exactly. */
  executed: number;
  /** page fault: the address accessed, and how. */
  faultAddr: Addr;
  access: 'read' | 'write' | 'fetch';
  /** page fault: false when the memory is there but its protection forbids the access. */
  unmapped: boolean;
}

export interface Engine extends MapListener {
  /** Host memory that the engine can share. */
  readonly allocate: SharedAllocator;
  /** Loads the GDT and ring 0's segments; contexts made later have them. Limit in bytes - 1. */
  loadSegments(gdt: Addr, limit: number): void;
  newContext(): CpuContext;
  /** Executes at most `max` instructions of the context, from its RIP. */
  run(context: CpuContext, max: number): Stop;
  /**
   * Executes from one address until it gets to another, nothing counted (`executed` is -1): for code that is
   * known to get there. Registers are those of the context if it was touched, else those that the last run
   * left; the context has them only after a run that ended otherwise than at `until`.
   */
  runTo(context: CpuContext, from: Addr | number, until: Addr | number): Stop;
  /**
   * The engine never translates the instruction at this address: a run that comes to it ends there, as `refused`.
   * To be called before it has translated what leads there. Not to be mixed with runTo().
   */
  stopBefore(addr: Addr): void;
  /** Forgets every address that stopBefore() named. */
  stopNowhere(): void;
  close(): void;
}

/** The engine cannot be had or does not do what is needed of it: names what to install or set. */
export class EngineError extends Error {
  readonly code = 'EENGINE';
  constructor(message: string) {
    super(message);
    this.name = 'EngineError';
  }
}
