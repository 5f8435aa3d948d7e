// What the handlers of exceptions share: the registers of the interrupted code, and how it is ended.

import type { Addr } from '../../../guest/addr.ts';
import type { HostCall } from '../../../guest/hostcall.ts';
import type { GuardedStack, TrapKernel, TrapTask } from '../../traps.ts';
import type { PtRegsName } from '../pt_regs.ts';
import type { Verdict } from './verdict.ts';

/** `regs` is the address of a pt_regs. */
export interface Interrupted {
  readonly kernel: TrapKernel;
  reg(regs: Addr, name: PtRegsName): bigint;
  setReg(regs: Addr, name: PtRegsName, value: bigint): void;
  userMode(regs: Addr): boolean;
  interruptsWereOn(regs: Addr): boolean;
  stackOverflow(call: HostCall, address: Addr, stack: GuardedStack, nmi: boolean): Verdict;
  /** print_vma_addr() */
  vma(task: TrapTask, ip: Addr): string;
  rewind(call: HostCall, sig: number): Verdict;
}
