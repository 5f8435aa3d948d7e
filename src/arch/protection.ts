// What a kernel is suited to on CPUs that keep it and user programs from each other's memory. Mirrors the alternatives of
// arch/*/kernel/alternative.c that are about accesses to users.

import type { Addr } from '../guest/addr.ts';
import type { GuestImage } from './kernel_side.ts';
import type { FeatureSet } from './module_text.ts';

export interface Protection {
  /** What such a CPU declares. */
  readonly features: FeatureSet;
  /** Text of the image that is another there. */
  sites(image: GuestImage): Iterable<readonly [Addr, Uint8Array]>;
}
