// Where a state's code, data and stack are: the same addresses in both engines and, for ring 3, in the host's process.
//
// An area is four pages: two that may be written, one that may only be read, one that is not there; none before it.

import { IMAGE_BASE, PAGE_OFFSET } from '../../../../src/guest/addr.ts';
import { PAGE_SIZE } from '../../../../src/guest/memory.ts';
import { USER_STACK_BASE, USER_TEXT_BASE } from '../../../../src/guest/windows.ts';

export interface Place {
  readonly user: boolean;
  /** One page. */
  readonly code: bigint;
  /** An area that a displacement of 32 bits reaches from the code, and by its address alone. */
  readonly near: bigint;
  readonly far: bigint;
  /** The area that the stack is in. */
  readonly stack: bigint;
}

export const WRITABLE = 2 * PAGE_SIZE;
export const READABLE = 3 * PAGE_SIZE;

export const KERNEL: Place = {
  user: false,
  code: IMAGE_BASE,
  near: IMAGE_BASE + 0x10000n,
  far: PAGE_OFFSET + 0x10000n,
  stack: PAGE_OFFSET + 0x20000n,
};

export const USER: Place = {
  user: true,
  code: USER_TEXT_BASE,
  near: USER_TEXT_BASE + 0x10000n,
  far: USER_STACK_BASE + 0x10000n,
  stack: USER_STACK_BASE + 0x20000n,
};

/** Bases of the two segments that have one: of one byte more than a page is, and above 4 GiB. */
export const SEGMENTS = {
  fs: { prefix: 0x64, base: 0x2341n },
  gs: { prefix: 0x65, base: 0x123456789ab8n },
} as const;
export type Segment = (typeof SEGMENTS)[keyof typeof SEGMENTS];

export const areasOf = ({ near, far, stack }: Place): readonly bigint[] => [near, far, stack];

/** What an area holds before each state: no two words of it alike. */
export function initialBytes(area: bigint): Uint8Array {
  const words = new BigUint64Array(READABLE / 8);
  let x = area ^ 0x9e3779b97f4a7c15n;
  for (let i = 0; i < words.length; i++) {
    x = BigInt.asUintN(64, x * 6364136223846793005n + 1442695040888963407n);
    words[i] = x ^ (x >> 29n);
  }
  return new Uint8Array(words.buffer);
}
