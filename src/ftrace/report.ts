// The text of tracefs' enabled_functions and dyn_ftrace_total_info, and the trampolines in
// /proc/kallsyms. Mirrors t_show() and ftrace_get_trampoline_kallsym() of kernel/trace/ftrace.c.

import type { Addr } from '../guest/addr.ts';
import type { KernelCore } from '../kernel/core.ts';
import type { KernelSymbol } from '../kernel/kallsyms.ts';
import { holds } from '../kernel/release.ts';
import { type FtraceRec, recCount } from './dyn_ftrace.ts';
import type { Ftrace } from './ftrace.ts';
import { FTRACE } from './since.ts';

/** struct dyn_ftrace entries on a page. */
const ENTRIES_PER_PAGE = 256;

/** enabled_functions, one line a traced site. */
export const enabledFunctions = (core: KernelCore, ftrace: Ftrace): string =>
  siteLines(core, ftrace, (rec) => recCount(core, rec) > 0);

/** touched_functions: also those that were traced once. */
export const touchedFunctions = (core: KernelCore, ftrace: Ftrace): string =>
  siteLines(core, ftrace, (rec) => rec.wasTouched);

/** t_show() of an iterator that shows ops. */
function siteLines(core: KernelCore, ftrace: Ftrace, isShown: (rec: FtraceRec) => boolean): string {
  const { FTRACE_FL_REGS, FTRACE_FL_IPMODIFY } = core.kernel.constants;
  let text = '';
  for (const rec of ftrace.records.all()) {
    if (!isShown(rec)) continue;
    text += siteName(ftrace.records.nameOf(core, rec), rec.module);
    text += ` (${recCount(core, rec)})${rec.flags & FTRACE_FL_REGS ? ' R' : '  '}`;
    const isRedirected = (rec.flags & FTRACE_FL_IPMODIFY) !== 0;
    text += `${isRedirected ? ' I' : '  '}  `;
    if (holds(core.kernel, FTRACE.modifiedColumn)) text += rec.wasModified ? '   M ' : '     ';
    text += `${trampolineText(core, ftrace, rec.target)}\n`;
  }
  return text;
}

function trampolineText(core: KernelCore, ftrace: Ftrace, target: Addr): string {
  const own = ftrace.trampolines.at(target);
  if (!own) {
    const { caller, regsCaller } = ftrace.trampolines;
    const template = target === regsCaller.start ? regsCaller : caller;
    return ` ->${core.sym(calledBy(core, template.start + BigInt(template.call)))}`;
  }
  const ops = ftrace.ops(own.ops);
  const called = calledBy(core, own.start + BigInt(ftrace.trampolines.templateOf(ops).call));
  return `\ttramp: ${core.sym(own.start)} (${core.sym(ops.func)}) ->${core.sym(called)}`;
}

function calledBy(core: KernelCore, callIp: Addr): Addr {
  const { fentry } = core.arch;
  return fentry.target(callIp, core.mem.readBytes(callIp, fentry.size)) ?? 0n;
}

/** dyn_ftrace_total_info: sites, pages they take, and groups of pages. */
export function dynFtraceTotalInfo(ftrace: Ftrace): string {
  const { count, groups } = ftrace.records;
  return `${count} pages:${Math.ceil(count / ENTRIES_PER_PAGE)} groups: ${groups}\n`;
}

/** print_rec() */
const siteName = (name: string, module: string | undefined): string =>
  module === undefined ? name : `${name} [${module}]`;

/** available_filter_functions */
export function availableFilterFunctions(core: KernelCore, ftrace: Ftrace): string {
  let text = '';
  for (const { name, module } of ftrace.records.listed(core)) text += `${siteName(name, module)}\n`;
  return text;
}

/** available_filter_functions_addrs: each site before its name. */
export function availableFilterFunctionsAddrs(core: KernelCore, ftrace: Ftrace): string {
  let text = '';
  for (const { ip, name, module } of ftrace.records.listed(core))
    text += `${ip.toString(16)} ${siteName(name, module)}\n`;
  return text;
}

/** Trampolines as /proc/kallsyms lists them; no other symbol look-up finds them. */
export function trampolineKallsyms(ftrace: Ftrace): (KernelSymbol & { module: string })[] {
  return ftrace.trampolines.list().map((t) => ({
    name: 'ftrace_trampoline',
    addr: t.start,
    size: t.size,
    type: 't',
    module: '__builtin__ftrace',
  }));
}
