// A new task's registers and first frame. Mirrors arch/x86/kernel/process.c (copy_thread), process_64.c (start_thread)
// and struct inactive_task_frame of switch_to.h.

import { CONSTANTS } from '../../kernel/layout.ts';
import { ptRegsOffset } from '../pt_regs.ts';
import type { Threads } from '../threads.ts';
import { PT_REGS, type PtRegsName } from './pt_regs.ts';

const { __USER_CS, __USER_DS, X86_EFLAGS_IF, X86_EFLAGS_FIXED } = CONSTANTS;
/** struct inactive_task_frame: r15 r14 r13 r12 bx bp ret_addr. */
const [FRAME_R12, FRAME_BX, FRAME_BP, FRAME_RET_ADDR, FRAME_SIZE] = [3 * 8, 4 * 8, 5 * 8, 6 * 8, 7 * 8];

const offsetOf = (name: PtRegsName): number => ptRegsOffset(PT_REGS, name);

export const THREADS: Threads = {
  firstReturn: FRAME_RET_ADDR,

  firstFrame(mem, regs, { returnTo, fn, arg, framePointers }) {
    const frame = regs - BigInt(FRAME_SIZE);
    mem.fill(frame, FRAME_SIZE, 0);
    // encode_frame_pointer(): the lowest bit says that these are registers.
    if (framePointers) mem.writeU64(frame + BigInt(FRAME_BP), regs + 1n);
    mem.writeU64(frame + BigInt(FRAME_BX), fn);
    mem.writeU64(frame + BigInt(FRAME_R12), arg);
    mem.writeU64(frame + BigInt(FRAME_RET_ADDR), returnTo);
    return frame;
  },

  startUser(mem, regs, entry, sp) {
    const put = (name: PtRegsName, value: bigint) => mem.writeU64(regs + BigInt(offsetOf(name)), value);
    put('ip', entry);
    put('cs', BigInt(__USER_CS));
    put('flags', BigInt(X86_EFLAGS_IF | X86_EFLAGS_FIXED));
    put('sp', sp);
    put('ss', BigInt(__USER_DS));
    put('orig_ax', BigInt.asUintN(64, -1n));
  },

  forked(mem, regs, sp) {
    mem.writeU64(regs + BigInt(offsetOf('ax')), 0n);
    if (sp !== 0n) mem.writeU64(regs + BigInt(offsetOf('sp')), sp);
  },

  moveUserStack(mem, regs, from, size, to) {
    for (const at of (['sp', 'bp', 'r15'] as const).map(offsetOf)) {
      const value = mem.readU64(regs + BigInt(at));
      if (value >= from && value <= from + BigInt(size)) mem.writeU64(regs + BigInt(at), value - from + to);
    }
  },
};
