// The function tracer: an ops of its own whose handler records. Mirrors kernel/trace/trace_functions.c, tracing_set_tracer() of
// kernel/trace/trace.c, and the filters of global_ops.

import type { Ftrace } from '../ftrace/ftrace.ts';
import type { Addr } from '../guest/addr.ts';
import type { HostGenerator } from '../guest/hostcall.ts';
import type { KernelCore } from '../kernel/core.ts';
import { UAPI } from '../kernel/uapi.ts';
import type { TraceBuffer } from './trace_buffer.ts';

export const TRACERS = ['function', 'nop'] as const;
type Tracer = (typeof TRACERS)[number];

export class FunctionTracer {
  readonly buffer: TraceBuffer;
  current: Tracer = 'nop';
  /** Sites of set_ftrace_filter; of none: all. */
  filter: ReadonlySet<Addr> = new Set();
  /** Sites of set_ftrace_notrace. */
  notrace: ReadonlySet<Addr> = new Set();
  readonly #ftrace: Ftrace;
  readonly #ops: Addr;

  constructor(core: KernelCore, ftrace: Ftrace, buffer: TraceBuffer) {
    this.#ftrace = ftrace;
    this.buffer = buffer;
    this.#ops = core.symbols.require('global_ops');
    core.host.define('trace_function', ({ cpu, args: [ip, parent, irqsOff] }) => {
      buffer.record(
        cpu,
        irqsOff !== 0n,
        () => `${buffer.symbol(ip, false)} <-${buffer.symbol(parent, false)}`,
      );
    });
  }

  /** tracing_set_tracer() @returns 0 or -errno */
  *set(name: string): HostGenerator<number> {
    const tracer = TRACERS.find((one) => one === name);
    if (tracer === undefined) return -UAPI.EINVAL;
    if (tracer === this.current) return 0;
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
  *setFilters(filter: ReadonlySet<Addr>, notrace: ReadonlySet<Addr>): HostGenerator<void> {
    this.filter = filter;
    this.notrace = notrace;
    yield* this.#ftrace.setFilter(this.#ops, this.#sites());
  }

  *#sites(): Iterable<Addr> {
    if (this.notrace.size === 0) {
      yield* this.filter;
      return;
    }
    const all = this.filter.size > 0 ? this.filter : [...this.#ftrace.records.all()].map((rec) => rec.ip);
    for (const ip of all) if (!this.notrace.has(ip)) yield ip;
  }

  /** Sites of a module that has gone are in no filter any more. */
  forget(isGone: (ip: Addr) => boolean): void {
    const kept = (sites: ReadonlySet<Addr>): ReadonlySet<Addr> =>
      new Set([...sites].filter((ip) => !isGone(ip)));
    this.filter = kept(this.filter);
    this.notrace = kept(this.notrace);
  }
}
