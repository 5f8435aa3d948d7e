// Listings that people read, as a port makes them.

interface DisassembleOptions {
  /** `name` or `name+0xoff` for an address. */
  symbolize?: (addr: bigint) => string | undefined;
  /** For ports with more than one; the first is what objdump and the kernel's own listings use. */
  syntax?: 'att' | 'intel';
}

export interface DisassembledInsn {
  addr: bigint;
  size: number;
  bytes: Uint8Array;
  text: string;
}

/** Bytes that stand at `addr`. What is no instruction comes out as `(bad)`. */
export type Disassemble = (
  bytes: Uint8Array,
  addr: bigint,
  options?: DisassembleOptions,
) => DisassembledInsn[];
