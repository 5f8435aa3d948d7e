// Padding that may be executed: the kernel's x86_nops (`P6 nops` of arch/x86/include/asm/nops.h), and space filled
// with them, the longest first.

/** Of 1 to 8 bytes. */
export const NOPS: ReadonlyArray<readonly number[]> = [
  [0x90],
  [0x66, 0x90],
  [0x0f, 0x1f, 0x00],
  [0x0f, 0x1f, 0x40, 0x00],
  [0x0f, 0x1f, 0x44, 0x00, 0x00],
  [0x66, 0x0f, 0x1f, 0x44, 0x00, 0x00],
  [0x0f, 0x1f, 0x80, 0x00, 0x00, 0x00, 0x00],
  [0x0f, 0x1f, 0x84, 0x00, 0x00, 0x00, 0x00, 0x00],
];

export const NOP5: readonly number[] = NOPS[4] as readonly number[];

export function fillNops(bytes: Uint8Array): void {
  let at = 0;
  while (at < bytes.length) {
    const nop = NOPS[Math.min(bytes.length - at, NOPS.length) - 1] as readonly number[];
    bytes.set(nop, at);
    at += nop.length;
  }
}
