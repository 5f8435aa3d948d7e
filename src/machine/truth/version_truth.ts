// Ground truth of calls: which version of a patched function a task got, held against what its
// patch_state and the func_stack say it must get. Seen at the trampoline's return, which is where the
// choice takes effect. Mirrors the rule of klp_ftrace_handler(), worked out apart from its code.
//
// It is asked at each call of a patched function: low halves of addresses are signed here, which V8 keeps without memory
// of their own, and what a site's stack is, is looked for when stacks or modules have changed.
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

/** An fentry site that has called a trampoline. */
interface Site {
  readonly addr: number;
  /** The functions that are patched in place of its own, the newest first, as of a generation. */
  stack: readonly Replacement[] | undefined;
  generation: number;
}

/**
 * The trampolines that a stack is in, innermost last: the site that called each, and the version due at the entry. What
 * is behind `depth` counts no more: arrays that shrink and grow at each call would be allocated at each call.
 */
interface Inside {
  readonly slot: number;
  depth: number;
  readonly sites: Site[];
  readonly due: number[];
  /** What became due there meanwhile, and was when the handler chose: a task may be preempted before that, and behind it. */
  readonly meanwhile: { readonly depth: number; readonly version: number }[];
}

const NONE: readonly number[] = [];

export class VersionTruth {
  readonly #core: KernelCore;
  readonly #livepatch: Livepatch;
  readonly #unpatched: number;
  /** Bytes of the call at an fentry site. */
  readonly #callSize: number;
  /** Functions that are patched, the newest first, by what they patch. */
  readonly #stacks = new Map<number, Replacement[]>();
  /** By stack slot. */
  readonly #inside = new Map<number, Inside>();
  /** The one asked for last, of a slot or of none. */
  #last: Inside = { slot: -2, depth: 0, sites: [], due: [], meanwhile: [] };
  readonly #sites = new Map<number, Site>();
  /** The site asked for last. */
  #site: Site = { addr: 0, stack: undefined, generation: -1 };
  /** Of the stacks, and of where functions are. */
  #generation = 0;
  /** Tasks that run a version which was theirs when it was chosen, and no more when they got it. */
  readonly gaps = new Set<TaskStruct>();
  /** Calls checked, and such gaps among them. */
  calls = 0;
  gapCalls = 0;

  constructor(core: KernelCore, livepatch: Livepatch) {
    this.#core = core;
    this.#livepatch = livepatch;
    this.#unpatched = core.kernel.constants.KLP_UNPATCHED;
    this.#callSize = core.arch.fentry.size;
    livepatch.patching.onChange.push((func, patched) => this.#changed(func, patched));
    core.events.subscribe(() => this.#generation++, ['module']);
    core.events.subscribe(() => this.#noteDue(), ['patch_state', 'transition']);
  }

  /** An fentry site has called a trampoline. Low halves; `slot` is the stack it is on, patchState its task's then. */
  entered(patchState: number, slot: number, site: number): void {
    const called = this.#siteAt(site | 0);
    const inside = this.#insideOf(slot);
    const depth = inside.depth++;
    inside.sites[depth] = called;
    inside.due[depth] = this.#expected(called, patchState);
  }

  /** A trampoline has returned, to the rest of the site's function or to another version. @throws GroundTruthError */
  left(task: TaskStruct, patchState: number, slot: number, target: number): void {
    const inside = this.#insideOf(slot);
    if (inside.depth === 0) return;
    const depth = --inside.depth;
    const called = inside.sites[depth];
    const due = inside.due[depth];
    const wasDue = inside.meanwhile.length > 0 ? this.#takeMeanwhile(inside, depth) : NONE;
    const expected = this.#expected(called, patchState);
    const site = called.addr;
    this.calls++;
    const got = (target | 0) === ((site + this.#callSize) | 0) ? 0 : target | 0;
    if (got === expected) this.#tell('call', task, patchState, site, got);
    else if (got === due || wasDue.includes(got)) {
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

  /** A task's state, or a stack, has changed: who is in a trampoline may be given what is due now. */
  #noteDue(): void {
    for (const inside of this.#inside.values()) {
      if (inside.depth === 0) continue;
      const task = this.#taskOn(inside.slot);
      if (!task) continue;
      for (let depth = 0; depth < inside.depth; depth++)
        inside.meanwhile.push({ depth, version: this.#expected(inside.sites[depth], task.patchState) });
    }
  }

  #taskOn(slot: number): TaskStruct | undefined {
    const { tasks } = this.#core;
    for (const task of tasks.processes()) if (task.stackSlot === slot) return task;
    return tasks.idle.find((task) => task.stackSlot === slot);
  }

  /** What became due in a trampoline that is left. */
  #takeMeanwhile({ meanwhile }: Inside, depth: number): number[] {
    const versions = meanwhile.filter((one) => one.depth === depth).map(({ version }) => version);
    const outer = meanwhile.filter((one) => one.depth < depth);
    meanwhile.splice(0, meanwhile.length, ...outer);
    return versions;
  }

  #tell(type: 'call' | 'gap', task: TaskStruct, patchState: number, site: number, got: number): void {
    const { events } = this.#core;
    if (!events.listens(type)) return;
    const version = got === 0 ? 'original' : this.#name(got);
    const func = this.#name(site);
    events.emit({ type, pid: task.pid, comm: task.comm, func, version, patchState });
  }

  /** The new function that the task must get; 0 for the original code. */
  #expected(site: Site, patchState: number): number {
    if (site.generation !== this.#generation) this.#renew(site);
    const { stack } = site;
    if (!stack) return 0;
    let [first] = stack;
    if (patchState === this.#unpatched && this.#isInTransition(first.func)) {
      if (stack.length === 1) return 0;
      first = stack[1];
    }
    return first.version;
  }

  /** Of the patch of a transition that is under way all functions are, though others may not see func->transition yet. */
  #isInTransition(func: KlpFunc): boolean {
    if (func.transition) return true;
    const objects = this.#livepatch.transitionPatch?.objects() ?? [];
    return objects.some((object) => object.funcs().some(({ addr }) => addr === func.addr));
  }

  #changed(func: KlpFunc, patched: boolean): void {
    this.#generation++;
    const entry = lo32(func.oldFunc) | 0;
    const stack = this.#stacks.get(entry) ?? [];
    if (patched) stack.unshift({ func, version: func.nop ? 0 : lo32(func.newFunc) | 0 });
    else
      stack.splice(
        stack.findIndex((one) => one.func.addr === func.addr),
        1,
      );
    if (stack.length > 0) this.#stacks.set(entry, stack);
    else this.#stacks.delete(entry);
    this.#noteDue();
  }

  #insideOf(slot: number): Inside {
    if (this.#last.slot === slot) return this.#last;
    let inside = this.#inside.get(slot);
    if (!inside) {
      inside = { slot, depth: 0, sites: [], due: [], meanwhile: [] };
      this.#inside.set(slot, inside);
    }
    this.#last = inside;
    return inside;
  }

  #siteAt(addr: number): Site {
    if (this.#site.addr === addr) return this.#site;
    let site = this.#sites.get(addr);
    if (!site) {
      site = { addr, stack: undefined, generation: -1 };
      this.#sites.set(addr, site);
    }
    this.#site = site;
    return site;
  }

  /** Its function may begin before it: an endbr64 comes first. */
  #renew(site: Site): void {
    const entry = lo32(this.#core.symbols.lookup(addrOf(site.addr))?.addr ?? 0n) | 0;
    site.stack = this.#stacks.get(entry || site.addr);
    site.generation = this.#generation;
  }

  #name(lo: number): string {
    const addr = addrOf(lo);
    const found = this.#core.symbols.lookup(addr);
    if (!found) return `0x${addr.toString(16)}`;
    return found.module ? `${found.name} [${found.module}]` : found.name;
  }

  /** A task is gone. */
  forget(slot: number): void {
    const inside = this.#inside.get(slot);
    if (!inside) return;
    inside.depth = 0;
    inside.meanwhile.length = 0;
  }
}

function addrOf(lo: number): Addr {
  return (BigInt(TEXT_HI) << 32n) | BigInt(lo >>> 0);
}
