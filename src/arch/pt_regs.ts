// struct pt_regs of a port: the interrupted code's registers, by name, and what they are for.
// Mirrors arch/*/include/asm/ptrace.h and the calling convention.
//
// Invariant: it is an array of 64-bit words, and agrees with what the kernel's description says of it.

/** Names are those of the structure's fields. */
export interface PtRegsLayout {
  /** All of it, the word with the lowest address first. Every other name here is one of them. */
  readonly words: readonly string[];
  /** Where the interrupted code goes on: instruction_pointer(). */
  readonly pc: string;
  /** kernel_stack_pointer(): the stack at the interruption, with nothing of the exception itself on it. */
  readonly sp: string;
  /** The register in which code that keeps a frame chain has its frame; undefined where there is no such rule. */
  readonly fp: string | undefined;
  /**
   * Where a call leaves its return address, if that is a register: the innermost call's may be in no memory then.
   * Undefined where a call pushes it.
   */
  readonly link: string | undefined;
  /** regs_get_kernel_argument(): of a C function, the first first. At least six. */
  readonly args: readonly string[];
  /** syscall_get_arguments(): the six of a system call. */
  readonly syscallArgs: readonly string[];
  /** regs_return_value() */
  readonly result: string;
  /** The first of the words that hardware saves by itself; from there to the end of the structure. */
  readonly hardware: string;
  /** user_mode(): in which word of pt_regs it shows, and whether its low half says user mode. Hot: no allocation. */
  readonly mode: { readonly word: string; isUser(low: number): boolean };
}

/** Offset of a register in struct pt_regs. Not for hot loops: take it once. @throws RangeError for no such register */
export function ptRegsOffset({ words }: PtRegsLayout, name: string): number {
  const index = words.indexOf(name);
  if (index < 0) throw new RangeError(`struct pt_regs has no ${name}`);
  return 8 * index;
}

/** sizeof(struct pt_regs) */
export function ptRegsSize({ words }: PtRegsLayout): number {
  return 8 * words.length;
}

/** One register of a register file in the layout of struct pt_regs, two words a register. */
export function readPtReg(layout: PtRegsLayout, regs: Uint32Array, name: string): bigint {
  const word = ptRegsOffset(layout, name) >> 2;
  return (BigInt(regs[word + 1]) << 32n) | BigInt(regs[word]);
}
