// A new task's registers and first frame. Mirrors arch/x86/kernel/process.c (copy_thread), process_64.c (start_thread)
// and struct inactive_task_frame of switch_to.h.

import { ptRegsOffset } from '../pt_regs.ts';
import type { Threads } from '../threads.ts';
import { SELECTOR } from './gdt.ts';
import {
  INACTIVE_FRAME_BP,
  INACTIVE_FRAME_BX,
  INACTIVE_FRAME_R12,
  INACTIVE_FRAME_RET_ADDR,
  INACTIVE_FRAME_SIZE,
} from './inactive_frame.ts';
import { PT_REGS, type PtRegsName } from './pt_regs.ts';
import { RFLAGS } from './rflags.ts';

const offsetOf = (name: PtRegsName): number => ptRegsOffset(PT_REGS, name);

export const THREADS: Threads = {
  firstReturn: INACTIVE_FRAME_RET_ADDR,

  firstFrame(mem, regs, { returnTo, fn, arg, framePointers }) {
    const frame = regs - BigInt(INACTIVE_FRAME_SIZE);
    mem.fill(frame, INACTIVE_FRAME_SIZE, 0);
    // encode_frame_pointer(): the lowest bit says that these are registers.
    if (framePointers) mem.writeU64(frame + BigInt(INACTIVE_FRAME_BP), regs + 1n);
    mem.writeU64(frame + BigInt(INACTIVE_FRAME_BX), fn);
    mem.writeU64(frame + BigInt(INACTIVE_FRAME_R12), arg);
    mem.writeU64(frame + BigInt(INACTIVE_FRAME_RET_ADDR), returnTo);
    return frame;
  },

  startUser(mem, regs, entry, sp) {
    const put = (name: PtRegsName, value: bigint) => mem.writeU64(regs + BigInt(offsetOf(name)), value);
    put('ip', entry);
    put('cs', BigInt(SELECTOR.USER_CS));
    put('flags', RFLAGS.IF | RFLAGS.FIXED);
    put('sp', sp);
    put('ss', BigInt(SELECTOR.USER_DS));
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
