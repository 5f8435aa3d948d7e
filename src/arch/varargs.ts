// Variadic arguments, as an ABI passes them.

import type { Addr } from '../guest/addr.ts';
import type { HostCall } from '../guest/hostcall.ts';
import type { GuestMemory } from '../guest/memory.ts';

/** Takes the next argument: a raw 64-bit slot. */
export type ArgSource = () => bigint;

export interface Varargs {
  /** The variadic arguments of a host call, after `fixed` named ones: registers, then the stack. */
  callArgs(mem: GuestMemory, call: HostCall, fixed: number): ArgSource;
  /**
   * The arguments that code has for a call and traps with, after `fixed` named ones. @param regs of the trap
   * @param callee the function that traps when it is called: the return address lies below those on the stack
   */
  trapArgs(mem: GuestMemory, regs: Addr, fixed: number, callee: Addr | undefined): ArgSource;
  /** The arguments of a guest va_list. Taking one moves the guest's va_list on, as va_arg() does. */
  vaList(mem: GuestMemory, list: Addr): ArgSource;
  /** The same of a copy, as va_copy() makes: the guest's stays where it is. */
  vaCopy(mem: GuestMemory, list: Addr): ArgSource;
}
