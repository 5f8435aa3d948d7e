// What the log says when a call site does not hold the bytes it should. Mirrors ftrace_bug() of
// kernel/trace/ftrace.c.

import { hex16 } from '../guest/addr.ts';
import type { KernelCore } from '../kernel/core.ts';
import { CONSTANTS } from '../kernel/layout.ts';
import { type FtraceRec, recCount } from './dyn_ftrace.ts';
import { CALL_SIZE, phC } from './insn.ts';

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
  const { printk, mem } = core;
  // print_ip_sym() is a message of its own.
  const at = `[<${hex16(rec.ip)}>] ${core.sym(rec.ip)}`;
  printk.info('------------[ ftrace bug ]------------');
  if (failed === -CONSTANTS.EFAULT) {
    printk.info(`ftrace faulted on modifying \n${at}`);
  } else if (failed === -CONSTANTS.EINVAL) {
    printk.info(`ftrace failed to modify \n${at}`);
    printk.info(` actual:   ${phC(mem.readBytes(rec.ip, CALL_SIZE))}`);
    printk.info(` expected: ${phC(expected)}`);
  } else {
    printk.info(`ftrace faulted on unknown error \n${at}`);
  }
  printk.info(type);
  printk.info(`ftrace record flags: ${rec.flags.toString(16)}`);
  printk.info(` (${recCount(rec)})${rec.flags & CONSTANTS.FTRACE_FL_REGS ? ' R' : '  '}`);
  const tramp = rec.target || core.symbols.require('ftrace_caller');
  printk.info(` expected tramp: ${tramp.toString(16)}`);
}
