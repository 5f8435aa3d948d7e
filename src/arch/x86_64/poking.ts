// int3 in the place of an instruction that is being changed, and who runs into it.
// Mirrors text_poke_loc_init() and poke_int3_handler() of arch/x86/kernel/alternative.c.

import type { Addr } from '../../guest/addr.ts';
import { sameBytes } from '../../guest/bytes.ts';
import type { GuestMemory } from '../../guest/memory.ts';
import type { Breakpoint, CarryOver, Poking } from '../poking.ts';
import { CALL, CALL_SIZE, INT3, JMP8, JMP32, NOP2, NOP5, RET, targetOf } from './insn.ts';
import { PT_IP, PT_SP } from './pt_regs.ts';

const IP = BigInt(PT_IP);
const SP = BigInt(PT_SP);

/** Where to is worked out for those who come: a kernel has 50,000 sites at a time. */
const jumpTo =
  (text: string, target: () => Addr): CarryOver =>
  (mem, regs) => {
    mem.writeU64(regs + IP, target());
    return { text };
  };

/** int3_emulate_call(): the entry code has left a gap below the stack for the push. */
const callOf =
  (site: Addr, insn: Uint8Array): CarryOver =>
  (mem, regs) => {
    const callee = targetOf(site, insn);
    const after = site + BigInt(insn.length);
    const sp = mem.readU64(regs + SP) - 8n;
    mem.writeU64(regs + SP, sp);
    mem.writeU64(sp, after);
    mem.writeU64(regs + IP, callee);
    return { text: 'call', callee };
  };

/** int3_emulate_ret() */
function ret(mem: GuestMemory, regs: Addr) {
  const sp = mem.readU64(regs + SP);
  mem.writeU64(regs + IP, mem.readU64(sp));
  mem.writeU64(regs + SP, sp + 8n);
  return { text: 'ret' };
}

function carryOver(site: Addr, insn: Uint8Array): CarryOver {
  const opcode = insn[0];
  if (insn.length === CALL_SIZE) {
    if (opcode === CALL) return callOf(site, insn);
    if (opcode === JMP32) return jumpTo('jmp', () => targetOf(site, insn));
  }
  if (opcode === JMP8 && insn.length >= 2)
    return jumpTo('jmp', () => site + 2n + BigInt((insn[1] << 24) >> 24));
  if (opcode === RET) return ret;
  if (sameBytes(insn, NOP5) || sameBytes(insn, NOP2)) return jumpTo('nop', () => site + BigInt(insn.length));
  throw new RangeError(`text_poke: ${[...insn].map((b) => b.toString(16)).join(' ')} cannot be emulated`);
}

const BREAKPOINT: Breakpoint = {
  insn: Uint8Array.of(INT3),
  site: (pc) => pc - 1n,
  carryOver,
};

export const POKING: Poking = { breakpoint: BREAKPOINT };
