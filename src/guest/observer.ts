// What an engine observes of execution when it is asked to, a part of the CPU port: breakpoints, watched memory, a trace,
// counts, stores that wait. What debuggers and searchers of schedules stand on.
//
// Each of them is off until it is switched on, and then costs nothing. None of them changes what guest code does but stores
// that wait: those other CPUs see later, as processors let them.

import type { Addr } from './addr.ts';
import type { CpuContext } from './cpu_context.ts';

type Access = 'read' | 'write';

/** Memory that is watched. */
export interface WatchedRange {
  /** A virtual address; or, with `physical`, an offset in the buffer of guest memory. */
  readonly addr: Addr;
  readonly size: number;
  /** Reads, writes, or each of them. */
  readonly access: Access | 'both';
  readonly physical?: boolean;
  /** In this address space alone (CpuContext.space). */
  readonly space?: number;
}

/** An access to watched memory, whole: it may be larger than what is watched of it. */
export interface Hit {
  readonly addr: Addr;
  readonly size: number;
  readonly access: Access;
  /** What was there before, and behind it; of a read both are what was read. Little endian, as memory is. */
  readonly before: bigint;
  readonly after: bigint;
  /** `host`: memory is not what it was when the last run ended. */
  readonly by: 'guest' | 'host';
}

/**
 * Blocks: straight runs of instructions, each told of when it begins; what is executed of one are the instructions up to
 * the number of the next event of its kind, or up to the run's end. Calls: with the returns, those from interrupts, too.
 */
export type Traced = 'blocks' | 'calls' | 'accesses';

export interface TraceEvent {
  readonly what: 'block' | 'call' | 'return' | Access;
  readonly context: CpuContext;
  /** Instructions that the engine had executed before this one, of all contexts. */
  readonly number: number;
  /** Address of the instruction. */
  readonly pc: Addr;
  /** Where it led to; what it accessed. Of a block its own address. */
  readonly addr: Addr;
  /** Of an access. One of more than 8 bytes is several. */
  readonly size: number;
  readonly value: bigint;
}

export interface Observer {
  /**
   * Runs end before the instructions at these addresses, with `breakpoint`; those set before are no more. A context that
   * stopped at one executes it when its next run begins there.
   */
  breakAt(addresses: Iterable<Addr>): void;
  /**
   * Runs end behind an instruction that accesses one of these, with `watchpoint`; those set before are no more. What the
   * host has written since the last run is told of before the next one begins. @throws EngineError for more than it has room for
   */
  watch(ranges: readonly WatchedRange[]): void;
  /** Of the last run that ended at a watchpoint, in their order: all of its last instruction. */
  readonly hits: readonly Hit[];
  /** What is told of from now on. */
  trace(what: readonly Traced[]): void;
  /** Events since the last call, oldest first; and how many older ones there was no room for. */
  takeTrace(): { readonly events: TraceEvent[]; readonly lost: number };
  /** Counts how often each instruction is executed, from 0. */
  count(on: boolean): void;
  /** By address; a repetition of a string instruction is not counted again. Not complete when there was no room for all. */
  counts(): { readonly executed: ReadonlyMap<Addr, number>; readonly complete: boolean };
  /**
   * Stores of a context wait, in their order, until there is no room, or an instruction, an exception or `release` has
   * them become visible to others; it reads them itself. Before the host acts as a CPU (an interrupt), it is to release.
   */
  holdStores(on: boolean): void;
  waiting(context: CpuContext): number;
  /** The oldest `most` of them, all without. @returns how many wait still */
  release(context: CpuContext, most?: number): number;
}
