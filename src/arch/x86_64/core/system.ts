// IRET, SYSRET, SWAPGS, flags by themselves, and what needs privilege. Intel SDM volume 2.

import { AC, AF, ARITHMETIC, CF, IF, NT, PF, readFlags, SF, writeFlags, ZF } from './flags';
import { STOP_PROTECTION } from './kinds';
import { CPL, CR3, GS_BASE, KERNEL_GS_BASE, RFLAGS, RIP, STOP, STOP_CODE } from './layout';
import { choosePrivilege, chooseSpace, read, stopped } from './memory';
import { R11, RAX, RCX, RSP } from './state';

/** #GP */
export function protectionFault(code: u32): bool {
  store<u32>(STOP, STOP_PROTECTION);
  store<u32>(STOP_CODE, code);
  return false;
}

/** Whether it may be executed: at privilege level 0 alone. */
function privileged(): bool {
  return load<u64>(CPL) == 0 ? true : protectionFault(0);
}

/** STI, CLI, STAC, CLAC. @returns false for #GP (stac and clac are invalid outside of the kernel: the same to us) */
export function setPrivileged(flag: u64, on: bool): bool {
  if (!privileged()) return false;
  const flags = load<u64>(RFLAGS);
  store<u64>(RFLAGS, on ? flags | flag : flags & ~flag);
  if (flag == AC) choosePrivilege();
  return true;
}

/** LAHF: ah <- SF ZF 0 AF 0 PF 1 CF */
export function lahf(): void {
  store<u8>(RAX + 1, <u8>((readFlags() & (SF | ZF | AF | PF | CF)) | 2));
}
/** SAHF: and back */
export function sahf(): void {
  const mask = SF | ZF | AF | PF | CF;
  writeFlags((readFlags() & ~mask) | (<u64>load<u8>(RAX + 1) & mask));
}

/** MOV to CR3 */
export function loadSpace(value: u64): void {
  store<u64>(CR3, value);
  chooseSpace();
}

export function swapgs(): bool {
  if (!privileged()) return false;
  const base = load<u64>(GS_BASE);
  store<u64>(GS_BASE, load<u64>(KERNEL_GS_BASE));
  store<u64>(KERNEL_GS_BASE, base);
  return true;
}

/** Selectors of the GDT (gdt.ts): what iret may load. */
const KERNEL_CS: u64 = 0x10;
const KERNEL_DS: u64 = 0x18;
const USER_DS: u64 = 0x2b;
const USER_CS: u64 = 0x33;
const USER_FLAGS: u64 = ARITHMETIC | 0x254500 | 0x10000; // TF DF NT AC ID RF

export function canonical(addr: u64): bool {
  return <u64>(<i64>(addr << 16) >> 16) == addr;
}

/** IRETQ (with NT set it would be a return to another task: #GP): rip, cs, rflags, rsp, ss from the stack. @returns false after a fault */
export function iret(): bool {
  if ((load<u64>(RFLAGS) & NT) != 0) return protectionFault(0);
  const sp = load<u64>(RSP);
  const rip = read<u64>(sp);
  if (stopped()) return false;
  const cs = read<u64>(sp + 8) & 0xffff;
  if (stopped()) return false;
  const flags = read<u64>(sp + 16);
  if (stopped()) return false;
  const rsp = read<u64>(sp + 24);
  if (stopped()) return false;
  const ss = read<u64>(sp + 32) & 0xffff;
  if (stopped()) return false;
  const toUser = (cs & 3) == 3;
  const fromUser = load<u64>(CPL) != 0;
  if (cs < 4) return protectionFault(0);
  if (fromUser && !toUser) return protectionFault(<u32>(cs & 0xfffc));
  if (toUser ? cs != USER_CS : cs != KERNEL_CS) return protectionFault(<u32>(cs & 0xfffc));
  if (toUser ? ss != USER_DS : ss != KERNEL_DS && ss != 0) return protectionFault(<u32>(ss & 0xfffc));
  if (!canonical(rip)) return protectionFault(0);
  const mask = fromUser ? USER_FLAGS : USER_FLAGS | IF | 0x3000;
  writeFlags((readFlags() & ~mask) | (flags & mask) | 2);
  store<u64>(RSP, rsp);
  store<u64>(RIP, rip);
  store<u64>(CPL, toUser ? 3 : 0);
  choosePrivilege();
  return true;
}

/** SYSRETQ: rip <- rcx, rflags <- r11, privilege level 3 */
export function sysret(): bool {
  if (!privileged()) return false;
  if (!canonical(load<u64>(RCX))) return protectionFault(0);
  writeFlags((load<u64>(R11) & 0x3c7fd7) | 2);
  store<u64>(RIP, load<u64>(RCX));
  store<u64>(CPL, 3);
  choosePrivilege();
  return true;
}
