// Variadic arguments as the x86-64 ABI passes them: six registers, then the stack; and va_list.

import { ptRegsOffset } from '../pt_regs.ts';
import type { Varargs } from '../varargs.ts';
import { PT_REGS } from './pt_regs.ts';

/** Bytes of the six registers in a va_list's save area. */
const REGISTER_BYTES = 48;
/** va_list of the ABI (3.5.7): u32 gp_offset, fp_offset; void *overflow_arg_area, *reg_save_area. */
const VA_LIST = { gpOffset: 0n, overflowArgArea: 8n, regSaveArea: 16n } as const;
/** Arguments on the stack start above the return address. */
const STACK_ARGS = 8n;

export const VARARGS: Varargs = {
  callArgs(mem, call, fixed) {
    let next = fixed;
    return () => {
      const index = next++;
      return index < 6 ? call.args[index] : mem.readU64(call.sp + STACK_ARGS + BigInt((index - 6) * 8));
    };
  },

  // __warn_args()
  trapArgs(mem, regs, fixed, callee) {
    const word = (name: string): bigint => mem.readU64(regs + BigInt(ptRegsOffset(PT_REGS, name)));
    const stack = word(PT_REGS.sp) + (word(PT_REGS.pc) === callee ? STACK_ARGS : 0n);
    let next = fixed;
    return () => {
      const index = next++;
      const { args } = PT_REGS;
      return index < args.length ? word(args[index]) : mem.readU64(stack + BigInt((index - args.length) * 8));
    };
  },

  vaCopy(mem, list) {
    let gpOffset = mem.readU32(list + VA_LIST.gpOffset);
    let area = mem.readU64(list + VA_LIST.overflowArgArea);
    const saved = mem.readU64(list + VA_LIST.regSaveArea);
    return () => {
      const from = gpOffset < REGISTER_BYTES ? saved + BigInt(gpOffset) : area;
      if (gpOffset < REGISTER_BYTES) gpOffset += 8;
      else area += 8n;
      return mem.readU64(from);
    };
  },

  vaList(mem, list) {
    return () => {
      const gpOffset = mem.readU32(list + VA_LIST.gpOffset);
      if (gpOffset < REGISTER_BYTES) {
        mem.writeU32(list + VA_LIST.gpOffset, gpOffset + 8);
        return mem.readU64(mem.readU64(list + VA_LIST.regSaveArea) + BigInt(gpOffset));
      }
      const area = mem.readU64(list + VA_LIST.overflowArgArea);
      mem.writeU64(list + VA_LIST.overflowArgArea, area + 8n);
      return mem.readU64(area);
    };
  },
};
