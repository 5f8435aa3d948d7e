// The few instructions that ftrace writes, as bytes. Mirrors arch/x86/include/asm/text-patching.h
// (text_gen_insn) and the 5-byte nop of arch/x86/include/asm/nops.h.

import type { Addr } from '../guest/addr.ts';

export const INT3 = 0xcc;
export const RET = 0xc3;
export const CALL = 0xe8;
export const JMP32 = 0xe9;
export const JMP8 = 0xeb;

/** Bytes of a call, of a jmp rel32, and of an fentry site. */
export const CALL_SIZE = 5;

/** nopl 0(%rax,%rax,1): an fentry site that nobody listens to. */
export const NOP5: Readonly<Uint8Array> = Uint8Array.of(0x0f, 0x1f, 0x44, 0x00, 0x00);
export const NOP2: Readonly<Uint8Array> = Uint8Array.of(0x66, 0x90);

/** `e8 disp32`: a call at `ip` of `target`. @throws RangeError when it is more than 2 GiB away. */
export function callInsn(ip: Addr, target: Addr): Uint8Array {
  const disp = BigInt.asIntN(64, target - ip - 5n);
  if (disp !== BigInt.asIntN(32, disp))
    throw new RangeError(`call from ${ip.toString(16)} cannot reach its target`);
  const bytes = Uint8Array.of(CALL, 0, 0, 0, 0);
  new DataView(bytes.buffer).setInt32(1, Number(disp), true);
  return bytes;
}

/** Where a call or jmp rel32 at `ip` goes. */
export function targetOf(ip: Addr, insn: Uint8Array): Addr {
  const disp = new DataView(insn.buffer, insn.byteOffset).getInt32(1, true);
  return BigInt.asUintN(64, ip + 5n + BigInt(disp));
}

export function sameBytes(a: ArrayLike<number>, b: ArrayLike<number>): boolean {
  if (a.length !== b.length) return false;
  for (let i = 0; i < a.length; i++) if (a[i] !== b[i]) return false;
  return true;
}

/** %*phC: bytes in hex with colons, as ftrace_bug prints them. */
export function phC(bytes: Uint8Array): string {
  return [...bytes].map((b) => b.toString(16).padStart(2, '0')).join(':');
}
