// What the reader of objects is told of the machine that they are for: the part of ELF that an ABI supplement fills in.
// The port has the value (`elf` in src/arch/arch.ts); who opens a file hands it on.

export interface RelocationKind {
  readonly name: string;
  /** Bytes written; 0 for a type that only marks a place. */
  readonly width: 0 | 4 | 8;
  /** The place's own address is subtracted from the value. */
  readonly pcRelative: boolean;
}

export interface ElfMachine {
  /** e_machine: EM_* of elf.h */
  readonly number: number;
  /** By type, those that the kernel applies to modules. */
  readonly relocations: ReadonlyMap<number, RelocationKind>;
}
