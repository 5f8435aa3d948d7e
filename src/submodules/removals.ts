// Submodules that go with their object, or with their patch: from a worker, for what releases an object may run in the
// submodule's own code or under klp_mutex. Mirrors klp_remove_module_work_fn() of the proposal.
//
// Invariant: a submodule is there, under its name, until its work has run. Who loads one again before is too early.

import type { Addr } from '../guest/addr.ts';
import type { HostGenerator } from '../guest/hostcall.ts';
import { initListHead } from '../kernel/list.ts';
import type { Livepatch } from '../livepatch/core.ts';
import type { Module } from '../module/module.ts';

interface DeletePort {
  /** module_put_and_delete() */
  deleteModule(mod: Module): HostGenerator<void>;
}

export class Removals {
  readonly #livepatch: Livepatch;
  readonly #ports: DeletePort;
  /** By the work_struct. */
  readonly #scheduled = new Map<Addr, Module>();

  constructor(livepatch: Livepatch, ports: DeletePort) {
    this.#livepatch = livepatch;
    this.#ports = ports;
  }

  schedule(mod: Module): void {
    const { core, constants, ports } = this.#livepatch.context;
    const { size, fields } = core.kernel.structs.work_struct;
    // Part of struct klp_object there: it is never short of memory.
    const work = core.faults.without(() => core.slab.alloc(size, 'klp_object.remove_work'));
    core.mem.writeU64(work + BigInt(fields.data), BigInt(constants.WORK_STRUCT_NO_POOL));
    initListHead(core, work + BigInt(fields.entry));
    core.mem.writeU64(work + BigInt(fields.func), core.symbols.require('klp_remove_module_work_fn'));
    this.#scheduled.set(work, mod);
    ports.workqueue.queueWork(work);
  }

  /** klp_remove_module_work_fn() */
  *run(work: Addr): HostGenerator<void> {
    const mod = this.#scheduled.get(work);
    this.#scheduled.delete(work);
    this.#livepatch.context.core.slab.free(work);
    if (mod) yield* this.#ports.deleteModule(mod);
  }
}
