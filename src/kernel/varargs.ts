// Variadic arguments as the x86-64 ABI passes them: six registers, then the stack; and va_list.

import type { Addr } from '../guest/addr.ts';
import type { HostCall } from '../guest/hostcall.ts';
import type { GuestMemory } from '../guest/memory.ts';

/** Takes the next argument: a raw 64-bit slot. */
export type ArgSource = () => bigint;

/** The variadic arguments of a host call, after `fixed` named ones. */
export function callArgs(mem: GuestMemory, call: HostCall, fixed: number): ArgSource {
  let next = fixed;
  return () => {
    const index = next++;
    // The return address is at sp; stack arguments start above it.
    return index < 6 ? call.args[index] : mem.readU64(call.sp + 8n + BigInt((index - 6) * 8));
  };
}

/**
 * The arguments of a guest va_list: { u32 gp_offset; u32 fp_offset; void *overflow_arg_area, *reg_save_area }.
 * Taking one moves the guest's va_list on, as va_arg() does.
 */
export function vaList(mem: GuestMemory, list: Addr): ArgSource {
  return () => {
    const gpOffset = mem.readU32(list);
    if (gpOffset < 48) {
      mem.writeU32(list, gpOffset + 8);
      return mem.readU64(mem.readU64(list + 16n) + BigInt(gpOffset));
    }
    const area = mem.readU64(list + 8n);
    mem.writeU64(list + 8n, area + 8n);
    return mem.readU64(area);
  };
}

/** Arguments that TypeScript has at hand. */
export function listArgs(values: readonly (bigint | number)[]): ArgSource {
  let next = 0;
  return () => BigInt.asUintN(64, BigInt(values[next++] ?? 0));
}
