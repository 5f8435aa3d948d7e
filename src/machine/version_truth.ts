// Ground truth of calls: which version of a patched function a task got, held against what its
// patch_state and the func_stack say it must get. Seen at the trampoline's return, which is where the
// choice takes effect. Mirrors the rule of klp_ftrace_handler(), worked out apart from its code.
//
// Invariant: a task never gets a version that is not its own: old and new are never mixed.

import { type Addr, lo32, TEXT_HI } from '../guest/addr.ts';
import type { KernelCore } from '../kernel/core.ts';
import { CONSTANTS } from '../kernel/layout.ts';
import type { TaskStruct } from '../kernel/task_struct.ts';
import type { Livepatch } from '../livepatch/core.ts';
import type { KlpFunc } from '../livepatch/structs.ts';
import { GroundTruthError } from './traces.ts';

export class VersionTruth {
  readonly #core: KernelCore;
  readonly #livepatch: Livepatch;
  /** Fentry sites whose trampoline each stack is in, innermost last. Low halves. */
  readonly #inside = new Map<number, number[]>();
  /** Calls checked. */
  calls = 0;

  constructor(core: KernelCore, livepatch: Livepatch) {
    this.#core = core;
    this.#livepatch = livepatch;
  }

  /** An fentry site has called a trampoline. Low halves; `slot` is the stack it is on. */
  entered(slot: number, site: number): void {
    const inside = this.#inside.get(slot);
    if (inside) inside.push(site);
    else this.#inside.set(slot, [site]);
  }

  /** A trampoline has returned, to the rest of the site's function or to another version. @throws GroundTruthError */
  left(cpu: number, slot: number, target: number): void {
    const site = this.#inside.get(slot)?.pop();
    if (site === undefined) return;
    const task = this.#core.current(cpu);
    const expected = this.#expected(site, task);
    if (expected === undefined) return;
    this.calls++;
    const got = target === site + 5 ? 0 : target;
    if (got !== expected) {
      throw new GroundTruthError(
        `${task} with patch_state ${task.patchState} calls ${this.#name(site)} and gets ${this.#name(got || site)}, not ${this.#name(expected || site)}`,
      );
    }
    this.#tell(task, site, got);
  }

  #tell(task: TaskStruct, site: number, got: number): void {
    const { events } = this.#core;
    if (!events.listens('call')) return;
    const version = got === 0 ? 'original' : this.#name(got);
    const func = this.#name(site);
    events.emit({ type: 'call', pid: task.pid, comm: task.comm, func, version, patchState: task.patchState });
  }

  /** The new function that the task must get, 0 for the original code; undefined for a site nobody patches. */
  #expected(site: number, task: TaskStruct): number | undefined {
    const stack = this.#funcStack(site);
    if (stack.length === 0) return undefined;
    let [func] = stack;
    if (func.transition && task.patchState === CONSTANTS.KLP_UNPATCHED) {
      if (stack.length === 1) return 0;
      func = stack[1];
    }
    return func.nop ? 0 : lo32(func.newFunc);
  }

  /** Functions that patch a site, newest first. */
  #funcStack(site: number): KlpFunc[] {
    const stack: KlpFunc[] = [];
    for (const patch of this.#livepatch.patches()) {
      for (const object of patch.objects()) {
        for (const func of object.funcs()) {
          if (func.patched && lo32(func.oldFunc) === site) stack.unshift(func);
        }
      }
    }
    return stack;
  }

  #name(lo: number): string {
    const addr: Addr = (BigInt(TEXT_HI) << 32n) | BigInt(lo);
    const found = this.#core.symbols.lookup(addr);
    if (!found) return `0x${addr.toString(16)}`;
    return found.module ? `${found.name} [${found.module}]` : found.name;
  }

  /** A task is gone. */
  forget(slot: number): void {
    this.#inside.delete(slot);
  }
}
