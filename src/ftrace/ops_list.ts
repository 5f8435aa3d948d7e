// ftrace_ops_list: who is registered, latest first, and which of them trace a site. Mirrors add_ftrace_ops(),
// remove_ftrace_ops() and ftrace_ops_test() of kernel/trace/ftrace.c.
//
// Invariant: the list is the guest's; a filter that was read is read again when its ops is registered anew or told to have
// another one.

import type { Addr } from '../guest/addr.ts';
import type { KernelCore } from '../kernel/core.ts';
import { FtraceOps } from './ops.ts';

/** A registered ops as it was when it was asked: for all sites at once it would be asked 50,000 times. */
export interface Tracer {
  readonly addr: Addr;
  readonly trampoline: Addr;
  /** FTRACE_OPS_FL_SAVE_REGS */
  readonly savesRegs: boolean;
  readonly traces: (ip: Addr) => boolean;
}

export class OpsList {
  readonly #core: KernelCore;
  readonly #head: Addr;
  readonly #end: Addr;
  /** Filters of registered ops, by their address, as they were last read. */
  readonly #filters = new Map<Addr, ReadonlySet<Addr> | 'all'>();

  constructor(core: KernelCore) {
    this.#core = core;
    this.#head = core.symbols.require('ftrace_ops_list_head');
    this.#end = core.symbols.require('ftrace_list_end');
  }

  /** do_for_each_ftrace_op() */
  registered(): FtraceOps[] {
    const list: FtraceOps[] = [];
    let addr = this.#core.mem.readU64(this.#head);
    while (addr !== this.#end) {
      const ops = new FtraceOps(this.#core, addr);
      list.push(ops);
      addr = ops.next;
    }
    return list;
  }

  /** Those that trace the site. */
  tracing(ip: Addr): FtraceOps[] {
    return this.registered().filter((ops) => {
      const filter = this.#filterOf(ops);
      return filter === 'all' || filter.has(ip);
    });
  }

  /** All of them as they are now: what it says holds until one of them, or the list, is another one. */
  tracers(): Tracer[] {
    return this.registered().map((ops) => {
      const filter = this.#filterOf(ops);
      return {
        addr: ops.addr,
        trampoline: ops.trampoline,
        savesRegs: ops.has(this.#core.kernel.constants.FTRACE_OPS_FL_SAVE_REGS),
        traces: filter === 'all' ? () => true : (ip) => filter.has(ip),
      };
    });
  }

  #filterOf(ops: FtraceOps): ReadonlySet<Addr> | 'all' {
    let filter = this.#filters.get(ops.addr);
    if (filter === undefined) {
      const ips = ops.filterIps();
      filter = ips ? new Set(ips) : 'all';
      this.#filters.set(ops.addr, filter);
    }
    return filter;
  }

  /** Its filter is another one. */
  filterChanged(ops: FtraceOps): void {
    this.#filters.delete(ops.addr);
  }

  add(ops: FtraceOps): void {
    this.filterChanged(ops);
    ops.next = this.#core.mem.readU64(this.#head);
    this.#core.mem.writeU64(this.#head, ops.addr);
  }

  remove(ops: FtraceOps): void {
    const { mem } = this.#core;
    if (mem.readU64(this.#head) === ops.addr) mem.writeU64(this.#head, ops.next);
    for (const other of this.registered()) if (other.next === ops.addr) other.next = ops.next;
  }
}
