// Variadic arguments as the x86-64 ABI passes them: six registers, then the stack; and va_list.

import type { Varargs } from '../varargs.ts';

/** Bytes of the six registers in a va_list's save area. */
const REGISTER_BYTES = 48;

export const VARARGS: Varargs = {
  callArgs(mem, call, fixed) {
    let next = fixed;
    return () => {
      const index = next++;
      // The return address is at sp; stack arguments start above it.
      return index < 6 ? call.args[index] : mem.readU64(call.sp + 8n + BigInt((index - 6) * 8));
    };
  },

  /** { u32 gp_offset; u32 fp_offset; void *overflow_arg_area, *reg_save_area } */
  vaList(mem, list) {
    return () => {
      const gpOffset = mem.readU32(list);
      if (gpOffset < REGISTER_BYTES) {
        mem.writeU32(list, gpOffset + 8);
        return mem.readU64(mem.readU64(list + 16n) + BigInt(gpOffset));
      }
      const area = mem.readU64(list + 8n);
      mem.writeU64(list + 8n, area + 8n);
      return mem.readU64(area);
    };
  },
};
