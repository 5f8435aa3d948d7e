// A kernel as the machine knows it: where the members of its structures lie, its constants, what it calls itself.
// A value that a machine is made with and its core holds: two machines of different kernels live in one process.
//
// Invariant: whoever reads or writes a structure of the guest takes the offsets from the core it belongs to.

import type { LaterMembers, LaterStructs } from './later_layout.ts';
import { CONSTANTS, LAYOUT, STRINGS } from './layout.ts';
import { PRIVATE_CONSTANTS, PRIVATE_LAYOUT } from './private_layout.ts';

type Offsets<Names> = { readonly [Name in keyof Names]: number };

/** The lowest bit of a bit field, from the structure's first, and how many there are. */
interface BitField {
  readonly bit: number;
  readonly width: number;
}

/** One structure: its size and the offsets of its members in bytes. */
interface StructLayout<Fields, Bits, Later> {
  readonly size: number;
  readonly fields: Offsets<Fields> & Later;
  readonly bitfields: { readonly [Name in keyof Bits]: BitField };
}

type KnownStructs = typeof LAYOUT & typeof PRIVATE_LAYOUT;
type KnownConstants = typeof CONSTANTS & typeof PRIVATE_CONSTANTS;

/** Members of embedded structures are flattened with '_' (`thread_sp`); those of anonymous ones keep their name. */
export type Structs = {
  readonly [Name in keyof KnownStructs]: StructLayout<
    KnownStructs[Name]['fields'],
    KnownStructs[Name]['bitfields'],
    LaterMembers<Name>
  >;
} & LaterStructs;

export type Constants = {
  readonly [Name in keyof Omit<KnownConstants, 'MODULE_LAYOUT_CRC'>]: KnownConstants[Name] extends bigint
    ? bigint
    : number;
};

export interface KernelDescription {
  /** UTS_RELEASE: `6.1.0-56-amd64` */
  readonly release: string;
  /** VERMAGIC_STRING, with the space at its end. */
  readonly vermagic: string;
  /** CRC of module_layout, which modules have to agree with; none in a kernel without CONFIG_MODVERSIONS. */
  readonly layoutCrc: number | undefined;
  /** What its modules have in .orc_header, in hexadecimal: which layout ORC entries have. None up to 6.2. */
  readonly orcHash: string | undefined;
  /** LINUX_PACKAGE_ID, as a dump ends its first line with it: ` Debian 6.1.192-2`, with its space. Empty for none. */
  readonly packageId: string;
  readonly structs: Structs;
  readonly constants: Constants;
}

/** Whether a kernel has a row of its structures: what is absent is an error to read (describe.ts). */
export const hasRow = <Fields extends object>(fields: Fields, name: keyof Fields): boolean =>
  Object.getOwnPropertyDescriptor(fields, name)?.enumerable === true;

/** Virtual ns of a jiffy. */
export const tickNs = ({ constants }: KernelDescription): number => 1e9 / constants.HZ;

/** What it was configured with, as an oops says it: CONFIG_PREEMPTION, CONFIG_SMP. Its vermagic has the same. */
export function buildFlags({ vermagic }: KernelDescription): string[] {
  const words = vermagic.split(' ');
  const flags: string[] = [];
  if (words.includes('preempt_rt')) flags.push('PREEMPT_RT');
  else if (words.includes('preempt')) flags.push('PREEMPT');
  if (words.includes('SMP')) flags.push('SMP');
  return flags;
}

const { MODULE_LAYOUT_CRC, ...HEADER_CONSTANTS } = CONSTANTS;

/** The kernel that the built-in image stands for: Debian's 6.1. */
export const BUILT_IN: KernelDescription = {
  release: STRINGS.UTS_RELEASE,
  vermagic: STRINGS.VERMAGIC_STRING,
  layoutCrc: MODULE_LAYOUT_CRC,
  orcHash: undefined,
  packageId: ' Debian 6.1.192-2',
  structs: { ...LAYOUT, ...PRIVATE_LAYOUT } as Structs,
  constants: { ...HEADER_CONSTANTS, ...PRIVATE_CONSTANTS },
};
