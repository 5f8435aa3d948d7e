// Ground truth of calls: which version of a patched function a task got, held against what its
// patch_state and the func_stack say it must get. Seen at the trampoline's return, which is where the
// choice takes effect. Mirrors the rule of klp_ftrace_handler(), worked out apart from its code.
//
// Invariant: a task never gets a version that is not its own: old and new are never mixed. The kernel
// itself leaves one gap, which is counted and told, not hidden: see docs/findings.md.

import { type Addr, lo32, TEXT_HI } from '../../guest/addr.ts';
import type { KernelCore } from '../../kernel/core.ts';
import type { TaskStruct } from '../../kernel/task_struct.ts';
import type { Livepatch } from '../../livepatch/core.ts';
import type { KlpFunc } from '../../livepatch/structs.ts';
import { GroundTruthError } from './traces.ts';

/** A function on a func_stack, and where the version begins that it brings; 0 for a nop. */
interface Replacement {
  readonly func: KlpFunc;
  readonly version: number;
}

export class VersionTruth {
  readonly #core: KernelCore;
  readonly #unpatched: number;
  /** Bytes of the call at an fentry site. */
  readonly #callSize: number;
  /** Functions that are patched, the newest first, by what they patch. Low halves. */
  readonly #stacks = new Map<number, Replacement[]>();
  /** Fentry sites whose trampoline each stack is in, innermost last, and the version due at the entry. Low halves. */
  readonly #inside = new Map<number, { site: number; due: number }[]>();
  /** Tasks that run a version which was theirs when it was chosen, and no more when they got it. */
  readonly gaps = new Set<TaskStruct>();
  /** Where the function of an fentry site begins, which an endbr64 may come before. Low halves. */
  readonly #entries = new Map<number, number>();
  /** Calls checked, and such gaps among them. */
  calls = 0;
  gapCalls = 0;

  constructor(core: KernelCore, livepatch: Livepatch) {
    this.#core = core;
    this.#unpatched = core.kernel.constants.KLP_UNPATCHED;
    this.#callSize = core.arch.fentry.size;
    livepatch.patching.onChange.push((func, patched) => this.#changed(func, patched));
    core.events.subscribe(() => this.#entries.clear(), ['module']);
  }

  /** An fentry site has called a trampoline. Low halves; `slot` is the stack it is on, patchState its task's then. */
  entered(patchState: number, slot: number, site: number): void {
    const entry = { site, due: this.#expected(site, patchState) };
    const inside = this.#inside.get(slot);
    if (inside) inside.push(entry);
    else this.#inside.set(slot, [entry]);
  }

  /** A trampoline has returned, to the rest of the site's function or to another version. @throws GroundTruthError */
  left(task: TaskStruct, patchState: number, slot: number, target: number): void {
    const entry = this.#inside.get(slot)?.pop();
    if (entry === undefined) return;
    const { site, due } = entry;
    const expected = this.#expected(site, patchState);
    this.calls++;
    const got = target === site + this.#callSize ? 0 : target;
    if (got === expected) this.#tell('call', task, patchState, site, got);
    else if (got === due) {
      // Switched, or the patch gone, between the handler's choice and the return that takes it.
      this.gapCalls++;
      this.gaps.add(task);
      this.#tell('gap', task, patchState, site, got);
    } else {
      throw new GroundTruthError(
        `${task} with patch_state ${patchState} calls ${this.#name(site)} and gets ${this.#name(got || site)}, not ${this.#name(expected || site)}`,
      );
    }
  }

  #tell(type: 'call' | 'gap', task: TaskStruct, patchState: number, site: number, got: number): void {
    const { events } = this.#core;
    if (!events.listens(type)) return;
    const version = got === 0 ? 'original' : this.#name(got);
    const func = this.#name(site);
    events.emit({ type, pid: task.pid, comm: task.comm, func, version, patchState });
  }

  /** The new function that the task must get; 0 for the original code. */
  #expected(site: number, patchState: number): number {
    const stack = this.#stacks.get(this.#entryOf(site));
    if (!stack) return 0;
    let [first] = stack;
    if (patchState === this.#unpatched && first.func.transition) {
      if (stack.length === 1) return 0;
      first = stack[1];
    }
    return first.version;
  }

  #changed(func: KlpFunc, patched: boolean): void {
    const entry = lo32(func.oldFunc);
    const stack = this.#stacks.get(entry) ?? [];
    if (patched) stack.unshift({ func, version: func.nop ? 0 : lo32(func.newFunc) });
    else
      stack.splice(
        stack.findIndex((one) => one.func.addr === func.addr),
        1,
      );
    if (stack.length > 0) this.#stacks.set(entry, stack);
    else this.#stacks.delete(entry);
  }

  #entryOf(site: number): number {
    let entry = this.#entries.get(site);
    if (entry === undefined) {
      entry = lo32(this.#core.symbols.lookup(addrOf(site))?.addr ?? 0n) || site;
      this.#entries.set(site, entry);
    }
    return entry;
  }

  #name(lo: number): string {
    const addr = addrOf(lo);
    const found = this.#core.symbols.lookup(addr);
    if (!found) return `0x${addr.toString(16)}`;
    return found.module ? `${found.name} [${found.module}]` : found.name;
  }

  /** A task is gone. */
  forget(slot: number): void {
    this.#inside.delete(slot);
  }
}

function addrOf(lo: number): Addr {
  return (BigInt(TEXT_HI) << 32n) | BigInt(lo);
}
