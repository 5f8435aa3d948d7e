// What a selector names, and who may load it or ask about it. Intel SDM volume 3, 5.5 and 5.8; volume 2, MOV, LAR, LSL,
// VERR. Descriptors are those of gdt.ts; there is no local table.

import { GDT } from '../gdt.ts';

/** Selectors are of 16 bits: index, table, privilege that is asked for. */
const [RPL, LOCAL] = [3, 4];

/** Bits of a descriptor's upper half, as lar reads them. */
const RIGHTS = 0x00ffff00n;
const [CODE, READ_OR_WRITE] = [0x800n, 0x200n];

interface Descriptor {
  readonly rights: bigint;
  /** In bytes. */
  readonly limit: bigint;
  readonly privilege: number;
  readonly isCode: boolean;
  /** Code that may be read, data that may be written. */
  readonly isOpen: boolean;
}

/** All are flat, their limits counted in pages. */
const DESCRIPTORS = GDT.map((entry): Descriptor | undefined => {
  if (entry === 0n) return undefined;
  const rights = (entry >> 32n) & RIGHTS;
  return {
    rights,
    limit: 0xffffffffn,
    privilege: Number((rights >> 13n) & 3n),
    isCode: (rights & CODE) !== 0n,
    isOpen: (rights & READ_OR_WRITE) !== 0n,
  };
});

const named = (selector: number): Descriptor | undefined =>
  selector & LOCAL ? undefined : DESCRIPTORS[selector >> 3];

/** @returns what one of privilege `cpl` may know of; no code is conforming */
export function descriptorOf(selector: bigint, cpl: number): Descriptor | undefined {
  const asked = Number(selector);
  const found = named(asked);
  return found && Math.max(cpl, asked & RPL) <= found.privilege ? found : undefined;
}

export const isReadable = (selector: bigint, cpl: number): boolean => {
  const found = descriptorOf(selector, cpl);
  return found !== undefined && (!found.isCode || found.isOpen);
};
export const isWritable = (selector: bigint, cpl: number): boolean => {
  const found = descriptorOf(selector, cpl);
  return found !== undefined && !found.isCode && found.isOpen;
};

/** Of ds, es, fs and gs; nothing can be had by anybody. */
export const isLoadable = (selector: bigint, cpl: number): boolean =>
  selector <= BigInt(RPL) || isReadable(selector, cpl);

/** Of ss: the privilege is that of who loads it. Nothing is for the kernel alone. */
export function isStack(selector: bigint, cpl: number): boolean {
  const asked = Number(selector);
  if ((asked & RPL) !== cpl) return false;
  return asked <= RPL ? cpl < 3 : isWritable(selector, cpl) && named(asked)?.privilege === cpl;
}
