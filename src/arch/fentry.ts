// The place at a function's start that ftrace turns into a call and back. Mirrors what kernel/trace/ftrace.c asks of
// arch/*/kernel/ftrace.c: MCOUNT_INSN_SIZE, ftrace_make_nop, ftrace_make_call, ftrace_call_replace.
//
// Invariant: a site is either `nop` or `call()` of something, both of `size` bytes, so that one can take the other's
// place; nothing jumps into its middle.

import type { Addr } from '../guest/addr.ts';

export interface FentrySite {
  /** Bytes of a site. */
  readonly size: number;
  /** What a site holds that nobody listens to: it changes no register and no flag that the function can see. */
  readonly nop: Readonly<Uint8Array>;
  /** The function that compiled code calls at its sites, until ftrace_init() makes nops of them. */
  readonly entry: string;
  /**
   * FTRACE_MCOUNT_MAX_OFFSET: how far behind its function's symbol a site may be, in bytes. One further behind is that
   * of a weak function that another one has overridden, and is left alone.
   */
  readonly maxOffset: number;
  /** An instruction that may stand at a function's start, before its site; undefined for code that is none. */
  landingPad(code: Uint8Array): { readonly what: string; readonly size: number } | undefined;
  /**
   * A site at `site` that calls `target`: at a trampoline's start the call's return address, wherever the port keeps
   * it, is `site + size`, and the traced function's own is still to be found.
   * @param into `size` bytes that it may be written to, for who makes one after the other
   * @throws RangeError for a target out of reach
   */
  call(site: Addr, target: Addr, into?: Uint8Array): Uint8Array;
  /** What a site holding `insn` calls: target(site, call(site, t)) is t. Undefined for what is no call. */
  target(site: Addr, insn: Uint8Array): Addr | undefined;
}
