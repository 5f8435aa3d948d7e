// A kernel as the machine knows it: where the members of its structures lie, its constants, what it calls itself.
// A value that a machine is made with and its core holds: two machines of different kernels live in one process.
//
// Invariant: whoever reads or writes a structure of the guest takes the offsets from the core it belongs to.

import { CONSTANTS, LAYOUT, STRINGS, type StructName } from './layout.ts';

type Offsets<Names> = { readonly [Name in keyof Names]: number };

/** The lowest bit of a bit field, from the structure's first, and how many there are. */
interface BitField {
  readonly bit: number;
  readonly width: number;
}

/** One structure: its size and the offsets of its members in bytes. */
interface StructLayout<Fields, Bits> {
  readonly size: number;
  readonly fields: Offsets<Fields>;
  readonly bitfields: { readonly [Name in keyof Bits]: BitField };
}

/** Members of embedded structures are flattened with '_' (`thread_sp`); those of anonymous ones keep their name. */
export type Structs = {
  readonly [Name in StructName]: StructLayout<
    (typeof LAYOUT)[Name]['fields'],
    (typeof LAYOUT)[Name]['bitfields']
  >;
};

type Constants = {
  readonly [Name in keyof typeof CONSTANTS]: (typeof CONSTANTS)[Name] extends bigint ? bigint : number;
};

export interface KernelDescription {
  /** UTS_RELEASE: `6.1.0-56-amd64` */
  readonly release: string;
  /** VERMAGIC_STRING, with the space at its end. */
  readonly vermagic: string;
  readonly structs: Structs;
  readonly constants: Constants;
}

/** The kernel that the built-in image stands for: Debian's 6.1. */
export const BUILT_IN: KernelDescription = {
  release: STRINGS.UTS_RELEASE,
  vermagic: STRINGS.VERMAGIC_STRING,
  structs: LAYOUT,
  constants: CONSTANTS,
};
