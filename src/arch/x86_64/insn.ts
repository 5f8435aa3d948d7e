// The few instructions that the kernel writes, as bytes. Mirrors arch/x86/include/asm/text-patching.h
// (text_gen_insn) and arch/x86/include/asm/nops.h.

import { type Addr, hi32, lo32 } from '../../guest/addr.ts';
import { OPCODE } from '../../isa/opcodes.ts';

export const { INT3, RET, CALL, JMP32, JMP8, NOP } = OPCODE;

/** Bytes of a call and of a jmp with a 32-bit displacement. */
export const CALL_SIZE = 5;

/** nopl 0(%rax,%rax,1): an fentry site that nobody listens to. */
export const NOP5: Readonly<Uint8Array> = Uint8Array.of(0x0f, 0x1f, 0x44, 0x00, 0x00);
export const NOP2: Readonly<Uint8Array> = Uint8Array.of(0x66, 0x90);

/** endbr64: where an indirect branch may lead. */
export const ENDBR64: Readonly<Uint8Array> = Uint8Array.of(0xf3, 0x0f, 0x1e, 0xfa);

/** text_gen_insn(): opcode and displacement of a five-byte call or jump. */
export function genInsn(opcode: number, at: Addr, target: Addr): Uint8Array {
  return withDisp32(opcode, lo32(target) - lo32(at) - 5);
}

/** @param disp whose low 32 bits count */
function withDisp32(opcode: number, disp: number, insn: Uint8Array = new Uint8Array(5)): Uint8Array {
  // Element by element: Uint8Array.of() takes longer, and each site of a kernel may be wanted.
  insn[0] = opcode;
  insn[1] = disp;
  insn[2] = disp >> 8;
  insn[3] = disp >> 16;
  insn[4] = disp >> 24;
  return insn;
}

/** `e8 disp32`: a call at `ip` of `target`. @throws RangeError when it is more than 2 GiB away. */
export function callInsn(ip: Addr, target: Addr, into?: Uint8Array): Uint8Array {
  // As numbers: where the halves are not near, what is lost of the difference makes it no nearer.
  const disp = ((hi32(target) - hi32(ip)) | 0) * 2 ** 32 + lo32(target) - lo32(ip) - 5;
  if (disp !== (disp | 0)) throw new RangeError(`call from ${ip.toString(16)} cannot reach its target`);
  return withDisp32(CALL, disp, into);
}

/** Where a call or jmp rel32 at `ip` goes. */
export function targetOf(ip: Addr, insn: Uint8Array): Addr {
  const disp = insn[1] | (insn[2] << 8) | (insn[3] << 16) | (insn[4] << 24);
  return BigInt.asUintN(64, ip + 5n + BigInt(disp));
}

/** ud1 (%edx),%rdi: WARN() of 7.x, of the struct bug_entry that the register points to (ASM_UD1 of asm/bug.h). */
export const UD1_WARN = Uint8Array.of(0x67, 0x48, 0x0f, 0xb9, 0x3a);
