// What the printf family of a real kernel, which is its own code, asks: what addresses are called, and that a message is
// kept. Mirrors sprint_symbol() and its kind of kernel/kallsyms.c, vprintk_store() of kernel/printk/printk.c.
//
// Invariant: a hosted function has a name there, and a module, as in any trace of the machine.

import type { Addr } from '../guest/addr.ts';
import type { HostFunction } from '../guest/hostcall.ts';
import type { KernelCore } from './core.ts';
import { levelAsked, writeCut } from './lib.ts';
import { symbolName } from './vsprintf.ts';

/** KSYM_SYMBOL_LEN: the least that a buffer has. */
const BUFFER = 1024n;

export function defineFormatCalls({ mem, host, symbols, printk }: KernelCore): void {
  const sprint =
    (textOf: (addr: Addr) => string): HostFunction =>
    ({ args: [buffer, addr] }) =>
      writeCut(mem, buffer, BUFFER, textOf(addr));
  const offset = sprint((addr) => symbols.format(addr));
  const backtrace = sprint((addr) => symbols.formatReturn(addr));
  host.offerAll({
    sprint_symbol: offset,
    sprint_symbol_no_offset: sprint((addr) => symbolName(symbols, addr)),
    sprint_backtrace: backtrace,
    // Without CONFIG_STACKTRACE_BUILD_ID, as those kernels are, there is none in it.
    sprint_symbol_build_id: offset,
    sprint_backtrace_build_id: backtrace,
    // (text, length, level)
    printk_store: ({ args: [text, length, level] }) =>
      printk.guest(
        Buffer.from(mem.view(text, Number(length & 0xffffffffn))).toString('latin1'),
        levelAsked(level),
      ),
  });
}
