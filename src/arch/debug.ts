// What a debugger asks of a port: registers as its protocol numbers them, and how frames are told of by DWARF.

import type { OrcColumns } from '../elf/orc.ts';
import type { Addr } from '../guest/addr.ts';
import type { CpuContext } from '../guest/engine.ts';
import type { GuestMemory } from '../guest/memory.ts';

export interface DebugRegister {
  readonly name: string;
  readonly bytes: number;
}

/** Values by number; undefined: nobody knows it. */
export type RegisterValues = readonly (bigint | undefined)[];

/** What a row of a table of frames is in DWARF's call frame instructions. */
interface FrameRules {
  /** All of a frame's rules, whatever held before. */
  readonly code: Uint8Array;
  /** The frame is an interrupt's: its caller's address is no return address. */
  readonly signal: boolean;
  /** Rows of one kind may follow each other in one entry: their rules are for the same registers. */
  readonly kind: number;
}

export interface DebugPort {
  /** The target description, XML. */
  readonly description: string;
  /** In the order of the protocol's `g` packet. */
  readonly registers: readonly DebugRegister[];
  readonly pc: number;
  readonly sp: number;
  /** Registers that are told with each stop: their numbers. */
  readonly expedited: readonly number[];
  /** Of a CPU. */
  ofContext(context: CpuContext): RegisterValues;
  /** Of a task that is switched out: what its stack holds. @param sp its saved stack pointer */
  ofInactive(mem: GuestMemory, sp: Addr): RegisterValues;
  /** @returns false for a register that cannot be set */
  setInContext(context: CpuContext, register: number, value: bigint): boolean;

  /** DWARF's number of the column that a return address is in. */
  readonly returnColumn: number;
  /** Rules that hold at the beginning of each entry. */
  readonly initialRules: Uint8Array;
  rulesOf(table: OrcColumns, row: number): FrameRules;
  /** Of text that no table covers, and of user programs: the walk ends there. */
  readonly lastFrame: FrameRules;
}
