// The function tracer: an ops of its own whose handler records. Mirrors kernel/trace/trace_functions.c, tracing_set_tracer() of
// kernel/trace/trace.c, and the filters of global_ops.

import type { Ftrace } from '../ftrace/ftrace.ts';
import type { Addr } from '../guest/addr.ts';
import type { HostGenerator } from '../guest/hostcall.ts';
import type { KernelCore } from '../kernel/core.ts';
import { UAPI } from '../kernel/uapi.ts';
import type { ModuleList } from '../module/modules.ts';
import { cameFor, type Filter, NO_FILTER } from './filter.ts';
import type { TraceBuffer } from './trace_buffer.ts';

/** Where no function can be. */
const NO_SITE = 0n;

export const TRACERS = ['function', 'nop'] as const;
type Tracer = (typeof TRACERS)[number];

export class FunctionTracer {
  readonly buffer: TraceBuffer;
  current: Tracer = 'nop';
  /** Open files of trace_pipe: trace_ref. */
  readers = 0;
  /** Of set_ftrace_filter: where it is empty, all functions. */
  filter: Filter = NO_FILTER;
  /** Of set_ftrace_notrace. */
  notrace: Filter = NO_FILTER;
  readonly #core: KernelCore;
  readonly #modules: ModuleList;
  readonly #ftrace: Ftrace;
  readonly #ops: Addr;

  constructor(core: KernelCore, ftrace: Ftrace, buffer: TraceBuffer, modules: ModuleList) {
    this.#modules = modules;
    this.#core = core;
    this.#ftrace = ftrace;
    this.buffer = buffer;
    this.#ops = core.symbols.require('global_ops');
    core.host.define('trace_function', ({ cpu, args: [ip, parent, irqsOff] }) => {
      buffer.record(cpu, irqsOff !== 0n, () => `${buffer.symbol(ip)} <-${buffer.symbol(parent)}`);
    });
  }

  /** tracing_set_tracer() @returns 0 or -errno */
  *set(name: string): HostGenerator<number> {
    const tracer = TRACERS.find((one) => one === name);
    if (tracer === undefined) return -UAPI.EINVAL;
    if (tracer === this.current) return 0;
    if (this.readers > 0) return -UAPI.EBUSY;
    if (this.current === 'function') yield* this.#ftrace.unregisterFunction(this.#ops);
    this.current = 'nop';
    this.buffer.reset();
    if (tracer === 'nop') return 0;
    const failed = yield* this.#ftrace.registerFunction(this.#ops);
    if (failed < 0) return failed;
    this.current = tracer;
    return 0;
  }

  /** ftrace_regex_release(): filters as they were written. */
  *setFilters(filter: Filter, notrace: Filter): HostGenerator<void> {
    this.filter = filter;
    this.notrace = notrace;
    yield* this.#ftrace.setFilter(this.#ops, this.#sites());
  }

  /** None for every function: that nothing is left is told by a site that there is not. */
  #sites(): ReadonlySet<Addr> {
    const { filter, notrace } = this;
    const isAll = filter.sites.size === 0 && filter.awaited.length === 0;
    if (isAll && notrace.sites.size === 0) return filter.sites;
    const all = isAll ? [...this.#ftrace.records.all()].map((rec) => rec.ip) : [...filter.sites];
    const left = new Set(all.filter((ip) => !notrace.sites.has(ip)));
    return left.size === 0 ? new Set([NO_SITE]) : left;
  }

  /** module_exists() */
  isLoaded(module: string): boolean {
    return this.#modules.find(module) !== undefined;
  }

  /** process_cached_mods() */
  *moduleComes(module: string): HostGenerator<void> {
    const waits = ({ awaited }: Filter): boolean => awaited.some((one) => one.module === module);
    if (!waits(this.filter) && !waits(this.notrace)) return;
    const came = (filter: Filter): Filter => cameFor(this.#core, this.#ftrace, filter, module);
    yield* this.setFilters(came(this.filter), came(this.notrace));
  }

  /** clear_mod_from_hashes(), clear_func_from_hashes(): in the place of a site that has gone is none. */
  forget(gone: readonly Addr[]): void {
    this.#ftrace.clearFilter(this.#ops, gone);
    const away = new Set(gone);
    const kept = (filter: Filter): Filter => ({
      ...filter,
      sites: new Set([...filter.sites].map((ip) => (away.has(ip) ? NO_SITE : ip))),
    });
    this.filter = kept(this.filter);
    this.notrace = kept(this.notrace);
  }
}
