// The guest's half of a host function (src/guest/hostcall.ts): a stub of a few instructions around a halt, in the
// port's folder of asm/.
//
// Invariant: each of its three halts is known by the address behind it, and a stub leaves the stack pointer as it found
// it between them, so that what was suspended is found again.

import type { Addr } from '../guest/addr.ts';
import type { CpuContext } from '../guest/engine.ts';
import type { GuestMemory } from '../guest/memory.ts';
import type { GuestImage } from './kernel_side.ts';

/** In bytes from the halt that enters the stub. */
interface StubOffsets {
  /** Behind the halt that enters it. */
  readonly entered: number;
  /** Where it goes on to call guest code. */
  readonly call: number;
  /** Behind the halt that says that this has returned. */
  readonly returned: number;
  /** Where it goes on to let a cpu_relax() go by. */
  readonly relax: number;
  /** Behind the halt that says that it went by. */
  readonly relaxed: number;
  /** Where it goes on to return. */
  readonly ret: number;
}

export interface HostStubs {
  readonly offsets: StubOffsets;
  /** The register of a context in which it takes the guest function that it is to call. */
  readonly callee: number;
  /** Bytes that a stub has on the stack at its halts, above which the stack is as at the function's entry. */
  frameBytes(framePointers: boolean): number;
  /** Where a host function that was entered returns to. @param sp the stack pointer at the function's entry */
  returnAddress(mem: GuestMemory, context: CpuContext, sp: Addr): Addr;
  /** The halt that enters the stub of every host function of the image, by name. */
  find(image: GuestImage): ReadonlyMap<string, Addr>;
}
