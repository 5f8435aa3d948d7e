// What a port may ask of the kernel model: the part of KernelCore (src/kernel/core.ts) that interfaces of this folder
// can name, since they lie below it.

import type { Addr } from '../guest/addr.ts';
import type { GuestMemory } from '../guest/memory.ts';

export interface KernelSide {
  readonly mem: GuestMemory;
  readonly symbols: {
    /** Address of a symbol of the image. @throws Error for one that it lacks */
    require(name: string): Addr;
  };
  /** Per-CPU data of the image, by name. */
  readonly percpu: {
    readonly base: readonly Addr[];
    address(name: string, cpu: number): Addr;
    readU64(name: string, cpu: number): bigint;
    writeU64(name: string, cpu: number, value: bigint): void;
  };
}

/** A structure of the kernel: its size and the offsets of its members in bytes. */
interface StructNumbers {
  readonly size: number;
  readonly fields: Readonly<Record<string, number>>;
}

/** What a kernel's description (src/kernel/description.ts) has by name. */
export interface KernelNumbers {
  readonly structs: Readonly<Record<string, StructNumbers>>;
  readonly constants: Readonly<Record<string, number | bigint>>;
}

/** An assembled guest image, as far as a port looks into it (src/asm/assembler.ts makes it). */
export interface GuestImage {
  readonly sections: readonly {
    readonly name: string;
    readonly addr: Addr;
    readonly size: number;
    readonly bytes: Uint8Array;
  }[];
  readonly symbols: readonly {
    readonly name: string;
    readonly addr: Addr;
    readonly size: number;
    readonly section: string;
    readonly type: string;
  }[];
  readonly fentrySites: readonly Addr[];
}
