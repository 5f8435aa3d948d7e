// What the log says when a call site does not hold the bytes it should. Mirrors ftrace_bug() of
// kernel/trace/ftrace.c.

import { hex16 } from '../guest/addr.ts';
import type { KernelCore } from '../kernel/core.ts';
import { UAPI } from '../kernel/uapi.ts';
import { type FtraceRec, recCount } from './dyn_ftrace.ts';

/**
 * @param failed -EFAULT, -EINVAL or -EPERM.
 * @param expected bytes that the site should have held.
 * @param type what was being done: print_bug_type().
 */
export function ftraceBug(
  core: KernelCore,
  failed: number,
  rec: FtraceRec,
  expected: Uint8Array,
  type: string,
): void {
  const { printk, mem, arch } = core;
  // print_ip_sym() is a message of its own.
  const at = `[<${hex16(rec.ip)}>] ${core.sym(rec.ip)}`;
  printk.info('------------[ ftrace bug ]------------');
  if (failed === -UAPI.EFAULT) {
    printk.info(`ftrace faulted on modifying \n${at}`);
  } else if (failed === -UAPI.EINVAL) {
    printk.info(`ftrace failed to modify \n${at}`);
    printk.info(` actual:   ${phC(mem.readBytes(rec.ip, arch.fentry.size))}`);
    printk.info(` expected: ${phC(expected)}`);
  } else {
    printk.info(`ftrace faulted on unknown error \n${at}`);
  }
  printk.info(type);
  printk.info(`ftrace record flags: ${rec.flags.toString(16)}`);
  printk.info(` (${recCount(core, rec)})${rec.flags & core.kernel.constants.FTRACE_FL_REGS ? ' R' : '  '}`);
  const tramp = rec.target || core.symbols.require(arch.trampoline.caller.name);
  printk.info(` expected tramp: ${tramp.toString(16)}`);
}

/** %*phC: bytes in hex with colons. */
function phC(bytes: Uint8Array): string {
  return [...bytes].map((b) => b.toString(16).padStart(2, '0')).join(':');
}
