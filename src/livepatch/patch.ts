// Which versions of a function there are: its func_stack, and the ftrace ops that leads to it.
// Mirrors kernel/livepatch/patch.c.
//
// Invariant: a klp_ops exists, and its fops is registered with ftrace, exactly while its func_stack is
// not empty. The top of the stack is the version that tasks in the patched state run.

import type { Addr } from '../guest/addr.ts';
import type { HostGenerator } from '../guest/hostcall.ts';
import type { Constants, Structs } from '../kernel/description.ts';
import {
  initListHead,
  listAdd,
  listDel,
  listDelRcu,
  listEntries,
  listIsSingular,
  listNext,
} from '../kernel/list.ts';
import { UAPI } from '../kernel/uapi.ts';
import type { KlpContext } from './context.ts';
import { KlpFunc, type KlpObject, type KlpPatch } from './structs.ts';

export class Patching {
  readonly #klp: KlpContext;
  readonly #klpOps: Structs['klp_ops']['fields'];
  readonly #stackNode: number;
  /** Where klp_find_ops() looks first: the ops of each function, by its address. */
  readonly #ops = new Map<Addr, Addr>();
  /** Told of each function that comes onto a func_stack, and of each that goes. */
  readonly onChange: ((func: KlpFunc, patched: boolean) => void)[] = [];

  constructor(klp: KlpContext) {
    this.#klp = klp;
    this.#klpOps = klp.core.kernel.structs.klp_ops.fields;
    this.#stackNode = klp.core.kernel.structs.klp_func.fields.stack_node;
  }

  get constants(): Constants {
    return this.#klp.constants;
  }

  /** klp_find_ops(): the ops of a function that is patched; undefined for one that is not. */
  findOps(oldFunc: Addr): Addr | undefined {
    return this.#ops.get(oldFunc);
  }

  /** The version under a function on its func_stack: list_next_entry(), undefined for the last. */
  below(func: KlpFunc): KlpFunc | undefined {
    const ops = func.patched ? this.findOps(func.oldFunc) : undefined;
    if (ops === undefined) return undefined;
    const next = listNext(this.#klp.core, func.stackNode);
    return next === ops + BigInt(this.#klpOps.func_stack)
      ? undefined
      : new KlpFunc(this.#klp.core, next - BigInt(this.#stackNode));
  }

  /** The versions of the function, the newest first. */
  funcStack(ops: Addr): KlpFunc[] {
    const head = ops + BigInt(this.#klpOps.func_stack);
    return listEntries(this.#klp.core, head, this.#stackNode).map(
      (addr) => new KlpFunc(this.#klp.core, addr),
    );
  }

  /** All klp_ops: the functions that are patched. */
  *allOps(): IterableIterator<Addr> {
    yield* listEntries(this.#klp.core, this.#klp.opsHead, this.#klpOps.node);
  }

  /** klp_patch_object(). @returns 0, or -errno with nothing of the object patched. */
  *patchObject(object: KlpObject): HostGenerator<number> {
    if (this.#klp.warnOn(object.patched, 'patch.c klp_patch_object')) return -UAPI.EINVAL;
    for (const func of object.funcs()) {
      const ret = yield* this.#patchFunc(func);
      if (ret !== 0) {
        yield* this.unpatchObject(object);
        return ret;
      }
    }
    object.patched = true;
    return 0;
  }

  /** klp_unpatch_object(), or only its nops. */
  *unpatchObject(object: KlpObject, nopsOnly = false): HostGenerator<void> {
    for (const func of object.funcs()) {
      if (nopsOnly && !func.nop) continue;
      if (func.patched) yield* this.#unpatchFunc(func);
    }
    if (object.dynamic || !nopsOnly) object.patched = false;
  }

  /** klp_unpatch_objects() */
  *unpatchObjects(patch: KlpPatch, nopsOnly = false): HostGenerator<void> {
    for (const object of patch.objects()) if (object.patched) yield* this.unpatchObject(object, nopsOnly);
  }

  *#patchFunc(func: KlpFunc): HostGenerator<number> {
    const { core } = this.#klp;
    if (this.#klp.warnOn(func.oldFunc === 0n, 'patch.c klp_patch_func: no old_func')) return -UAPI.EINVAL;
    if (this.#klp.warnOn(func.patched, 'patch.c klp_patch_func: patched')) return -UAPI.EINVAL;
    const failed = core.faults.check('klp_patch_func', func.oldName ?? '');
    if (failed !== 0) return failed;
    const ops = this.findOps(func.oldFunc);
    if (ops !== undefined) {
      listAdd(core, func.stackNode, ops + BigInt(this.#klpOps.func_stack));
      yield* this.#klp.stored();
    } else {
      const ret = yield* this.#newOps(func);
      if (ret !== 0) return ret;
    }
    this.#changed(func, true);
    return 0;
  }

  /** The first version of a function: an ops of its own, registered for the one site. */
  *#newOps(func: KlpFunc): HostGenerator<number> {
    const klp = this.#klp;
    const { slab } = klp.core;
    const site = klp.ftrace.location(func.oldFunc);
    if (site === 0n) {
      klp.err(`failed to find location for function '${func.oldName}'`);
      return -UAPI.EINVAL;
    }
    const ops = slab.tryAlloc(this.#klpOps.fops + klp.core.kernel.structs.ftrace_ops.size, 'klp_ops');
    if (ops === 0n) return -UAPI.ENOMEM;
    const fops = klp.ftrace.ops(ops + BigInt(this.#klpOps.fops));
    fops.func = klp.handler;
    const { FTRACE_OPS_FL_DYNAMIC, FTRACE_OPS_FL_IPMODIFY, FTRACE_OPS_FL_PERMANENT } = this.constants;
    fops.flags = FTRACE_OPS_FL_DYNAMIC | FTRACE_OPS_FL_IPMODIFY | FTRACE_OPS_FL_PERMANENT;
    listAdd(this.#klp.core, ops + BigInt(this.#klpOps.node), klp.opsHead);
    this.#ops.set(func.oldFunc, ops);
    initListHead(this.#klp.core, ops + BigInt(this.#klpOps.func_stack));
    listAdd(this.#klp.core, func.stackNode, ops + BigInt(this.#klpOps.func_stack));

    let ret = yield* klp.ftrace.setFilterIp(fops.addr, site, false);
    if (ret !== 0) {
      klp.err(`failed to set ftrace filter for function '${func.oldName}' (${ret})`);
    } else {
      ret = yield* klp.ftrace.registerFunction(fops.addr);
      if (ret === 0) return 0;
      klp.err(`failed to register ftrace handler for function '${func.oldName}' (${ret})`);
      yield* klp.ftrace.setFilterIp(fops.addr, site, true);
    }
    listDelRcu(this.#klp.core, func.stackNode);
    this.#freeOps(func, ops);
    return ret;
  }

  /** WARN_ON() of klp_unpatch_func(): with unregister_ftrace_function(), and with ftrace_set_filter_ip(). */
  *#warn(which: 0 | 1): HostGenerator<void> {
    yield { call: this.#klp.core.symbols.require('__klp_unpatch_object'), args: [which] };
  }

  *#unpatchFunc(func: KlpFunc): HostGenerator<void> {
    const klp = this.#klp;
    const ops = this.findOps(func.oldFunc);
    if (klp.warnOn(ops === undefined, 'patch.c klp_unpatch_func: no ops') || ops === undefined) return;
    if (listIsSingular(this.#klp.core, ops + BigInt(this.#klpOps.func_stack))) {
      const site = klp.ftrace.location(func.oldFunc);
      if (klp.warnOn(site === 0n, 'patch.c klp_unpatch_func: no site')) return;
      const fops = ops + BigInt(this.#klpOps.fops);
      const unregistered = yield* klp.ftrace.unregisterFunction(fops);
      if (unregistered !== 0) yield* this.#warn(0);
      const removed = yield* klp.ftrace.setFilterIp(fops, site, true);
      if (removed !== 0) yield* this.#warn(1);
      listDelRcu(this.#klp.core, func.stackNode);
      this.#freeOps(func, ops);
    } else {
      listDelRcu(this.#klp.core, func.stackNode);
      yield* klp.stored();
    }
    this.#changed(func, false);
  }

  #freeOps(func: KlpFunc, ops: Addr): void {
    const { slab } = this.#klp.core;
    listDel(this.#klp.core, ops + BigInt(this.#klpOps.node));
    this.#ops.delete(func.oldFunc);
    slab.free(ops);
  }

  #changed(func: KlpFunc, patched: boolean): void {
    func.patched = patched;
    for (const told of this.onChange) told(func, patched);
  }
}
