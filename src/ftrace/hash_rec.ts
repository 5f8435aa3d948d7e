// What the record of a fentry site says of the ops that trace it: how many, by which trampoline, whether one saves all registers or
// changes the ip. Mirrors kernel/trace/ftrace.c: __ftrace_hash_rec_update, ftrace_hash_ipmodify_enable, ftrace_get_addr_new.
//
// Invariant: under ftrace_lock a record counts each registered ops whose filter has its site, once.

import type { Addr } from '../guest/addr.ts';
import type { KernelCore } from '../kernel/core.ts';
import type { Constants } from '../kernel/description.ts';
import { UAPI } from '../kernel/uapi.ts';
import { type FtraceRec, type FtraceRecords, isValid, recCount } from './dyn_ftrace.ts';
import type { FtraceOps } from './ops.ts';
import type { OpsList, Tracer } from './ops_list.ts';
import type { Trampolines } from './trampoline.ts';

export class HashRec {
  readonly #core: KernelCore;
  readonly #constants: Constants;
  readonly #records: FtraceRecords;
  readonly #list: OpsList;
  readonly #trampolines: Trampolines;

  constructor(core: KernelCore, records: FtraceRecords, list: OpsList, trampolines: Trampolines) {
    this.#core = core;
    this.#constants = core.kernel.constants;
    this.#records = records;
    this.#list = list;
    this.#trampolines = trampolines;
  }

  /** ftrace_hash_ipmodify_enable() @returns 0, -EINVAL for an ops that names no site, -EBUSY where another has one of them */
  ipmodifyEnable(ops: FtraceOps): number {
    if (!ops.has(this.#constants.FTRACE_OPS_FL_IPMODIFY)) return 0;
    const ips = ops.filterIps();
    if (!ips) return -UAPI.EINVAL;
    if (this.ipmodifyTaken(ips)) return -UAPI.EBUSY;
    this.markIpmodify(this.recordsOf(ops), ops, true);
    return 0;
  }

  /** Sites that an ops which changes the ip has, or has no longer. */
  markIpmodify(records: Iterable<FtraceRec>, ops: FtraceOps, has: boolean): void {
    const { FTRACE_OPS_FL_IPMODIFY, FTRACE_FL_IPMODIFY } = this.#constants;
    if (!ops.has(FTRACE_OPS_FL_IPMODIFY)) return;
    for (const rec of records) {
      rec.wasModified ||= has;
      rec.flags = (has ? rec.flags | FTRACE_FL_IPMODIFY : rec.flags & ~FTRACE_FL_IPMODIFY) >>> 0;
    }
  }

  /** Whether one of these sites has an ops that changes the ip. */
  ipmodifyTaken(ips: readonly Addr[]): boolean {
    return ips.some((ip) => ((this.#records.at(ip)?.flags ?? 0) & this.#constants.FTRACE_FL_IPMODIFY) !== 0);
  }

  /** Records of the sites that an ops traces: those of its filter, or all. */
  recordsOf(ops: FtraceOps): FtraceRec[] {
    const { FTRACE_FL_DISABLED } = this.#constants;
    const ips = ops.filterIps();
    const records: FtraceRec[] = [];
    if (ips) {
      for (const ip of ips) {
        const rec = this.#records.at(ip);
        if (rec && !(rec.flags & FTRACE_FL_DISABLED)) records.push(rec);
      }
      return records;
    }
    // ftrace_check_work_func(): functions that the linker threw away are disabled before anyone can trace.
    for (const rec of this.#records.all())
      if (!(rec.flags & FTRACE_FL_DISABLED) && isValid(this.#core, rec)) records.push(rec);
    return records;
  }

  /** __ftrace_hash_rec_update() for records that an ops traces from now on, or no longer. */
  count(records: Iterable<FtraceRec>, ops: FtraceOps, by: 1 | -1): void {
    const { FTRACE_FL_TRAMP, FTRACE_FL_REGS, FTRACE_OPS_FL_SAVE_REGS } = this.#constants;
    const others = this.#list.tracers().filter((other) => other.addr !== ops.addr);
    const savesRegs = by === 1 && ops.has(FTRACE_OPS_FL_SAVE_REGS);
    const own = by === 1 ? ops.trampoline : 0n;
    for (const rec of records) {
      let [regs, trampoline] = [savesRegs, own];
      let first = true;
      for (const other of others) {
        if (!other.traces(rec.ip)) continue;
        if (first) trampoline = other.trampoline;
        first = false;
        regs ||= other.savesRegs;
      }
      let flags = (rec.flags + by) & ~(FTRACE_FL_TRAMP | FTRACE_FL_REGS);
      if ((flags & this.#constants.FTRACE_REF_MAX) === 1 && trampoline !== 0n) flags |= FTRACE_FL_TRAMP;
      if (regs) flags |= FTRACE_FL_REGS;
      rec.flags = flags >>> 0;
    }
  }

  /** ftrace_get_addr_new(): what a record's site should call; 0 for a nop. */
  wanted(rec: FtraceRec, tracers: readonly Tracer[]): Addr {
    if (recCount(this.#core, rec) === 0) return 0n;
    const { FTRACE_FL_TRAMP, FTRACE_FL_REGS } = this.#constants;
    const alone = rec.flags & FTRACE_FL_TRAMP ? tracers.find(({ traces }) => traces(rec.ip)) : undefined;
    if (alone && alone.trampoline !== 0n) return alone.trampoline;
    return (rec.flags & FTRACE_FL_REGS ? this.#trampolines.regsCaller : this.#trampolines.caller).start;
  }
}

/** Records that are not among others: of the two, one may have 50,000. */
export function without(records: readonly FtraceRec[], others: readonly FtraceRec[]): Iterable<FtraceRec> {
  if (others.length <= records.length) {
    const known = new Set(others);
    return known.size === 0 ? records : records.filter((rec) => !known.has(rec));
  }
  const left = new Set(records);
  for (const rec of others) left.delete(rec);
  return left;
}
