// How an ops' own trampoline is made of the image's template. Mirrors create_trampoline() of arch/x86/kernel/ftrace.c.

import type { Addr } from '../guest/addr.ts';

/** The image's labels in a template, by name; the template ends at `NAME_end`. */
export interface TemplateLabels {
  /** Where the template starts: what a site calls that several ops share. */
  readonly name: string;
  /** The call of the handler: a site, by the port's FentrySite, in the template. */
  readonly call: string;
  /** All other places that make() rewrites. */
  readonly others: readonly string[];
}

/** A template in memory. Offsets are in bytes from its start. */
export interface Template {
  readonly start: Addr;
  readonly size: number;
  readonly call: number;
  /** As `others` of its labels. */
  readonly others: readonly number[];
}

export interface TrampolineCode {
  /** ftrace_caller: saves what a C function may change, and the arguments into ftrace_regs. */
  readonly caller: TemplateLabels;
  /** ftrace_regs_caller: makes a full struct pt_regs, which the handler may change: the site's pc too. */
  readonly regsCaller: TemplateLabels;
  /** Bytes that a trampoline has behind the copy of its template. */
  readonly extra: number;
  /**
   * The code of a trampoline of `template.size + extra` bytes at `start`: as the template, but that it calls `handler`
   * itself, with `ops` as its ops argument, wherever it lies. A stack trace finds in it what it finds at the same
   * offset of the template.
   * @param code the template's bytes
   * @throws Error for a template that is not as the port expects
   */
  make(template: Template, code: Uint8Array, start: Addr, ops: Addr, handler: Addr): Uint8Array;
}
