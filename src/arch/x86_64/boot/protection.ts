// A CPU that keeps the kernel and user programs from each other's memory: SMEP and SMAP. What the kernel makes of it in its
// own text as it boots. Mirrors arch/x86/include/asm/smap.h, as alternative_instructions() applies it.

import type { Addr } from '../../../guest/addr.ts';
import type { GuestImage } from '../../kernel_side.ts';
import type { Protection } from '../../protection.ts';
import { PROTECTING_CPU_FEATURES } from '../module/cpu_features.ts';

/** By the prefix of the labels at the nops that asm/x86_64/smap.inc leaves for them. */
const INSTRUCTIONS: Readonly<Record<string, Uint8Array>> = {
  __stac_at_: Uint8Array.of(0x0f, 0x01, 0xcb),
  __clac_at_: Uint8Array.of(0x0f, 0x01, 0xca),
};

export const PROTECTION: Protection = {
  features: PROTECTING_CPU_FEATURES,
  *sites({ symbols }: GuestImage): Iterable<readonly [Addr, Uint8Array]> {
    for (const [prefix, bytes] of Object.entries(INSTRUCTIONS))
      for (const { name, addr } of symbols) if (name.startsWith(prefix)) yield [addr, bytes];
  },
};
