// What a port does to a module's text while it loads: relocations, sites that are suited to the CPU, branches that are
// compiled in or out. Mirrors arch/*/kernel/module.c, and what kernel/jump_label.c and kernel/static_call_inline.c ask
// of a port.
//
// Invariant: relocations and tables are worked on before the text is executable, so a plain write is enough; branch
// sites are set later, by text poking.

import type { Addr } from '../guest/addr.ts';
import type { KernelNumbers } from './kernel_side.ts';

/** The bytes of a module that is being loaded. GuestMemory is one. */
export interface ModuleBytes {
  readBytes(addr: Addr, size: number): Uint8Array;
  readU8(addr: Addr): number;
  readU16(addr: Addr): number;
  readS32(addr: Addr): number;
  writeBytes(addr: Addr, bytes: Uint8Array): void;
  isMapped(addr: Addr, size?: number): boolean;
}

/** Where a 32-bit distance from its own place leads, as tables have it that need no relocation when they move. */
export function followRelative(mem: Pick<ModuleBytes, 'readS32'>, at: Addr): Addr {
  // A per-CPU symbol is an offset near 0, to which the sum wraps around.
  return BigInt.asUintN(64, at + BigInt(mem.readS32(at)));
}

/** A table of a loaded module. */
export interface Table {
  readonly addr: Addr;
  readonly size: number;
}

export interface PatchCount {
  /** Sites that were rewritten. */
  patched: number;
  /** Sites that stay as they are, because that is right for this CPU. */
  kept: number;
  /** What the kernel would WARN about: a site that does not hold what the table says. */
  readonly warnings: string[];
}

/** What the emulated CPU declares. */
export interface FeatureSet {
  /** @throws Error for a name that the port does not know */
  hasNamed(name: string): boolean;
  /** Whether the CPU has a feature, by the kernel's number of it. */
  selector(kernel: KernelNumbers): (asked: number) => boolean;
}

/** What a table is applied with. */
export interface FinalizeContext {
  readonly mem: ModuleBytes;
  readonly kernel: KernelNumbers;
  readonly cpus: number;
  readonly features: FeatureSet;
  /** The module's .text. */
  readonly text: Table | undefined;
  /** An address of the image by name. */
  lookupName(name: string): Addr | undefined;
  /** The name of what begins at an address. */
  nameAt(addr: Addr): string | undefined;
}

/** One table of sites of module_finalize(). */
export interface SiteTable {
  readonly section: string;
  /** Bytes of an entry, or the structure that it is. */
  readonly entry: number | string;
  /** What was done to a site that was rewritten, for the report of the load. */
  readonly what: string;
  /** Or why the sites stay as they are, all of them. */
  apply(context: FinalizeContext, table: Table): PatchCount | string;
}

/** Jump labels and static calls. */
export interface BranchSites {
  /** The jump or nop of a jump label, by its bytes: how long it is, and which. Undefined for anything else. */
  jumpLabelAt(mem: ModuleBytes, code: Addr): { readonly size: number; readonly isJump: boolean } | undefined;
  /** What it holds when its branch is taken, and when not: both of `size` bytes. */
  jump(code: Addr, target: Addr, size: number): Uint8Array;
  nop(size: number): Uint8Array;
  /** Bytes that have to be mapped at the site of a static call. */
  readonly staticCallReach: number;
  /** What is wrong with the instruction at a static call's site; undefined where it is one. */
  staticCallFault(mem: ModuleBytes, site: Addr, tail: boolean): string | undefined;
  /** A call of `func`, or a tail call; of 0: nothing is done, or the function returns. All are of one size. */
  staticCall(site: Addr, func: Addr, tail: boolean): Uint8Array;
  /** What stands at a site instead of a call of the function of a name. */
  readonly inlinedCalls: Readonly<Record<string, Uint8Array>>;
}

/** One relocation, for messages about it. */
export interface RelocationSite {
  readonly file: string;
  /** The section that is relocated. */
  readonly section: string;
  readonly offset: number;
  readonly type: number;
  /** The symbol's name. */
  readonly symbol: string;
}

/** Relocations of a module, by the numbers of the ABI: those that the port's ElfMachine lists. */
interface Relocations {
  /**
   * Writes one, S + A being `value`, into `target` at `at`, which is `place` in memory. The bytes there are 0 before.
   * @throws RelocationError, in the kernel's words, before anything is written
   */
  apply(target: DataView, at: number, place: bigint, value: bigint, site: RelocationSite): void;
  /** What apply() found: clear after apply leaves the bytes as they were. */
  clear(target: DataView, at: number, type: number): void;
}

export interface ModuleText {
  readonly relocations: Relocations;
  /** Unless a machine says otherwise. */
  readonly features: FeatureSet;
  /** In the order in which the kernel works on them. */
  readonly tables: readonly SiteTable[];
  readonly branches: BranchSites;
}
