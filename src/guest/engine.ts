// The CPU port: what the rest of the machine knows of the thing that executes guest instructions.
// One engine serves all emulated CPUs; each CPU is a context that is loaded into it for a slice.

import type { Addr } from './addr.ts';
import type { CpuContext } from './cpu_context.ts';
import type { MapListener, SharedAllocator } from './memory.ts';
import type { Observer } from './observer.ts';

export type { CpuContext };

export type StopKind =
  /** The budget is used up. */
  | 'budget'
  /** The instruction that waits for an interrupt, or that enters a host function: the PC is behind it. */
  | 'halt'
  /** A system call of user mode: the PC is behind it; what the instruction itself saves is the port's to set. */
  | 'syscall'
  /** An instruction that asks for an exception, a breakpoint among them: the PC is behind it. */
  | 'trap'
  /** No instruction, or one made to be none: the PC is at it. */
  | 'undefined instruction'
  /** An instruction that stopBefore() named: the PC is at it. */
  | 'refused'
  /** A breakpoint of the observer's: the PC is at the instruction, which the next run executes. */
  | 'breakpoint'
  /** What the observer watches was accessed: the PC is behind the instruction, or at its next repetition. */
  | 'watchpoint'
  /** Memory: not mapped, or against its protection; the PC is at the instruction. */
  | 'page fault'
  /** An operation on floating-point numbers raised an exception that is not masked; the PC is at the instruction. */
  | 'floating point'
  /** What else an instruction may not do, a division by zero for one: the PC is at it. */
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
  /** What it can observe of execution; undefined for an engine that cannot. */
  readonly observer?: Observer;
  /** Host memory that the engine can share. */
  readonly allocate: SharedAllocator;
  newContext(): CpuContext;
  /** Executes at most `max` instructions of the context, from its PC. */
  run(context: CpuContext, max: number): Stop;
  /**
   * The engine never translates the instruction at this address: a run that comes to it ends there, as `refused`.
   * To be called before it has translated what leads there.
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
