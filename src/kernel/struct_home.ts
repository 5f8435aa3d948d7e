// Where structures of a guest lie, and how: all that a view of one needs.

import type { GuestMemory } from '../guest/memory.ts';
import type { KernelDescription } from './description.ts';

/** The memory that structures lie in, and the kernel that says how. */
export interface StructHome {
  readonly mem: GuestMemory;
  readonly kernel: KernelDescription;
}
