// Jump labels and static calls. Mirrors arch/x86/kernel/jump_label.c and __static_call_transform() of
// arch/x86/kernel/static_call.c.

import type { Addr } from '../../../guest/addr.ts';
import { hex } from '../../../guest/addr.ts';
import { sameBytes } from '../../../guest/bytes.ts';
import type { BranchSites, ModuleBytes } from '../../module_text.ts';
import { CALL, genInsn, INT3, JMP8, JMP32, RET, UD1_WARN } from '../insn.ts';
import { nopBytes } from './alternative.ts';

/** 2 or 5 bytes, by the jump or nop at the site. */
function jumpLabelAt(mem: ModuleBytes, code: Addr) {
  if (!mem.isMapped(code, 5)) return undefined;
  const bytes = mem.readBytes(code, 5);
  if (bytes[0] === JMP8) return { size: 2, isJump: true };
  if (bytes[0] === JMP32) return { size: 5, isJump: true };
  if (sameBytes(bytes.subarray(0, 2), nopBytes(2))) return { size: 2, isJump: false };
  return sameBytes(bytes, nopBytes(5)) ? { size: 5, isJump: false } : undefined;
}

function jump(code: Addr, target: Addr, size: number): Uint8Array {
  if (size === 5) return genInsn(JMP32, code, target);
  return Uint8Array.of(JMP8, Number(target - code - 2n) & 0xff);
}

/** xor5rax: `cs cs cs xor %eax,%eax`, of a call of __static_call_return0(). */
const XOR5RAX = Uint8Array.of(0x2e, 0x2e, 0x2e, 0x31, 0xc0);
/** What a site that is no tail call holds where it does not call. */
const NO_CALLS = [nopBytes(5), XOR5RAX, UD1_WARN];

/** __static_call_validate() */
function staticCallFault(mem: ModuleBytes, site: Addr, tail: boolean): string | undefined {
  const opcode = mem.readU8(site);
  if (tail && (opcode === JMP32 || opcode === RET)) return undefined;
  const holds = (code: Uint8Array): boolean => sameBytes(mem.readBytes(site, code.length), code);
  if (!tail && (opcode === CALL || NO_CALLS.some(holds))) return undefined;
  return `unexpected static_call insn opcode 0x${opcode.toString(16)} at ${hex(site)}`;
}

function staticCall(site: Addr, func: Addr, tail: boolean): Uint8Array {
  if (func !== 0n) return genInsn(tail ? JMP32 : CALL, site, func);
  return tail ? Uint8Array.of(RET, INT3, INT3, INT3, INT3) : nopBytes(5);
}

export const BRANCHES: BranchSites = {
  jumpLabelAt,
  jump,
  nop: nopBytes,
  staticCallReach: 6,
  staticCallFault,
  staticCall,
  // warninsn of 7.x: the trap itself
  inlinedCalls: { __WARN_trap: UD1_WARN },
};
