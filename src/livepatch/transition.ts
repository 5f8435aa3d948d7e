// How all tasks come from one set of functions to the other, each at a moment when it stands in none
// of those that change. Mirrors kernel/livepatch/transition.c.
//
// Invariant: while a transition is under way, a task whose patch_state is not the target has
// TIF_PATCH_PENDING; outside one every patch_state is KLP_UNDEFINED and func->transition is false.
// The caller holds klp_mutex everywhere.

import type { Addr } from '../guest/addr.ts';
import type { HostCall, HostGenerator } from '../guest/hostcall.ts';
import type { Constants } from '../kernel/description.ts';
import type { DebugSite } from '../kernel/dynamic_debug.ts';
import type { SwitchWay } from '../kernel/events.ts';
import { roundJiffiesRelative } from '../kernel/jiffies.ts';
import { holds } from '../kernel/release.ts';
import type { TaskStruct } from '../kernel/task_struct.ts';
import { StackCheck } from './check_stack.ts';
import type { KlpContext } from './context.ts';
import { DEBUG } from './debug_sites.ts';
import type { Patching } from './patch.ts';
import { SelfSwitching } from './self_switching.ts';
import { LIVEPATCH } from './since.ts';
import type { KlpPatch } from './structs.ts';

/** Retries, one a second, between two rounds of fake signals. */
const SIGNALS_TIMEOUT = 15;
const DEFAULT_TASKS_PER_RELAX = 64;

/** What must happen to patches when a transition has come to its end; core.ts owns them. */
interface TransitionEnd {
  /** klp_unpatch_replaced_patches() and klp_discard_nops(). */
  dropReplaced(patch: KlpPatch): HostGenerator<void>;
  /** klp_free_patch_async() */
  freePatchAsync(patch: KlpPatch): HostGenerator<void>;
  /** klp_free_replaced_patches_async() */
  freeReplacedAsync(patch: KlpPatch): HostGenerator<void>;
}

export class Transition {
  readonly #klp: KlpContext;
  readonly #constants: Constants;
  readonly #patching: Patching;
  readonly #end: TransitionEnd;
  readonly #self: SelfSwitching;
  /** Virtual ns at which tasks could begin to switch, last time. */
  get startedAt(): number {
    return this.#started;
  }
  #started = 0;

  constructor(klp: KlpContext, patching: Patching, end: TransitionEnd) {
    this.#klp = klp;
    this.#constants = klp.constants;
    this.#patching = patching;
    this.#end = end;
    this.#self = new SelfSwitching(klp.core);
  }

  #word(state: number): string {
    return state === this.#constants.KLP_PATCHED ? 'patching' : 'unpatching';
  }

  /** klp_init_transition(): every task in the state it starts from, every function marked. */
  init(patch: KlpPatch, state: number): void {
    const klp = this.#klp;
    klp.warnOn(klp.targetState !== this.#constants.KLP_UNDEFINED, 'transition.c klp_init_transition');
    klp.transitionPatch = patch;
    // Without effect until TIF_PATCH_PENDING is set.
    klp.targetState = state;
    klp.debug(DEBUG.init, `'${patch.name}': initializing ${this.#word(state)} transition`);
    this.#event('initializing');
    const initial =
      state === this.#constants.KLP_PATCHED ? this.#constants.KLP_UNPATCHED : this.#constants.KLP_PATCHED;
    for (const task of this.#tasks()) {
      if (task.patchState !== this.#constants.KLP_UNDEFINED)
        klp.warnOn(true, 'transition.c klp_init_transition: patch_state');
      task.patchState = initial;
    }
    // patch_state before func->transition: the handler never sees a function in transition with a
    // task that is KLP_UNDEFINED.
    for (const func of this.#funcs(patch)) func.transition = true;
  }

  /** klp_start_transition(): tasks can switch from now on. */
  *start(): HostGenerator<void> {
    const klp = this.#klp;
    const target = klp.targetState;
    klp.warnOn(target === this.#constants.KLP_UNDEFINED, 'transition.c klp_start_transition');
    klp.notice(`'${klp.transitionPatch?.name}': starting ${this.#word(target)} transition`);
    this.#started = klp.core.clock.now();
    this.#event('starting');
    for (const task of this.#tasks()) if (task.patchState !== target) task.setTif('TIF_PATCH_PENDING');
    yield* this.#self.enable();
    klp.signalsCnt = 0;
  }

  /** klp_try_complete_transition(): one pass over all tasks; comes again in a second if some remain. */
  *tryComplete(call: HostCall): HostGenerator<void> {
    const klp = this.#klp;
    const patch = klp.transitionPatch;
    klp.warnOn(klp.targetState === this.#constants.KLP_UNDEFINED, 'transition.c klp_try_complete_transition');
    if (!patch) return;
    yield* klp.decides();
    if (!(yield* this.#trySwitchAll(patch, call))) {
      this.#retryLater(call.cpu);
      return;
    }
    yield* klp.decides();
    yield* this.#self.disable();
    yield* this.#complete(patch);
    if (!patch.enabled) yield* this.#end.freePatchAsync(patch);
    else if (patch.replace) yield* this.#end.freeReplacedAsync(patch);
  }

  *#trySwitchAll(patch: KlpPatch, call: HostCall): HostGenerator<boolean> {
    const { core, ports, options, targetState } = this.#klp;
    const check = new StackCheck(this.#patching, patch, targetState);
    const perRelax = options.tasksPerRelax ?? DEFAULT_TASKS_PER_RELAX;
    const tasks = core.tasks.processes();
    const remaining = { count: 0 };
    // Other CPUs run while this one works through the list.
    while (this.#trySwitchSome(tasks, perRelax, targetState, check, call, remaining)) yield { relax: true };
    for (let cpu = 0; cpu < core.cpus; cpu++) {
      const idle = core.tasks.idle[cpu];
      if (idle.patchState === targetState || this.#trySwitch(idle, targetState, check, call)) continue;
      remaining.count++;
      ports.sched.wakeUpIfIdle(cpu); // so that it comes through its loop
    }
    return remaining.count === 0;
  }

  /**
   * Tries the next tasks that have not switched, up to `limit`, and counts those that still have not.
   * A plain function, because the loop over all tasks is what a pass costs, and generators are slow until they
   * have run for long. @returns whether there may be more.
   */
  #trySwitchSome(
    tasks: Iterator<TaskStruct>,
    limit: number,
    target: number,
    check: StackCheck,
    call: HostCall,
    remaining: { count: number },
  ): boolean {
    for (let tried = 0; tried < limit; ) {
      const { done, value: task } = tasks.next();
      if (done) return false;
      if (task.patchState === target) continue;
      if (!this.#trySwitch(task, target, check, call)) remaining.count++;
      tried++;
    }
    return true;
  }

  /** klp_try_switch_task(), called by the task that it is about. */
  trySwitchItself(call: HostCall): boolean {
    const { core, transitionPatch, targetState } = this.#klp;
    const task = core.tasks.byAddr(call.args[0]);
    if (!task || !transitionPatch || task.patchState === targetState) return true;
    const check = new StackCheck(this.#patching, transitionPatch, targetState);
    return this.#trySwitch(task, targetState, check, call, this.#self.way);
  }

  /** klp_try_switch_task() */
  #trySwitch(
    task: TaskStruct,
    target: number,
    check: StackCheck,
    call: HostCall,
    way: SwitchWay = 'stack check',
  ): boolean {
    const { core, ports, options } = this.#klp;
    if (!options.reliableStacktrace) return false;
    if (ports.sched.taskCurr(task) && task !== core.currentOf(call)) {
      this.#blocked(task, 'is running');
      return false;
    }
    const count = ports.stack.saveReliable(task, check.entries, call);
    if (count < 0) {
      this.#blocked(task, 'has an unreliable stack');
      return false;
    }
    const found = check.find(count);
    if (found >= 0) {
      const name = check.nameOf(found);
      this.#blocked(task, `is sleeping on function ${name}`, name);
      return false;
    }
    task.clearTif('TIF_PATCH_PENDING');
    task.patchState = target;
    this.#switched(task, target, way);
    return true;
  }

  #retryLater(cpu: number): void {
    const klp = this.#klp;
    if (klp.signalsCnt > 0 && klp.signalsCnt % SIGNALS_TIMEOUT === 0) this.#sendSignals();
    klp.signalsCnt++;
    const now = klp.core.clock.now();
    const hz = this.#constants.HZ;
    klp.ports.workqueue.queueDelayedWork(klp.transitionWork, roundJiffiesRelative(hz, hz, cpu, now));
  }

  /** klp_send_signals(): a fake signal for user tasks, a wake-up for kernel threads. */
  #sendSignals(): void {
    const { core, ports, signalsCnt } = this.#klp;
    if (signalsCnt === SIGNALS_TIMEOUT) this.#klp.notice('signaling remaining tasks');
    this.#event('signaling remaining tasks');
    for (const task of core.tasks.processes()) {
      if (!task.testTif('TIF_PATCH_PENDING')) continue;
      if (task.isKthread) ports.sched.wakeUpState(task, this.#constants.TASK_INTERRUPTIBLE);
      else ports.sched.setNotifySignal(task);
    }
  }

  /** klp_complete_transition() */
  *#complete(patch: KlpPatch): HostGenerator<void> {
    const klp = this.#klp;
    const target = klp.targetState;
    klp.debug(DEBUG.complete, `'${patch.name}': completing ${this.#word(target)} transition`);
    this.#event('completing');
    if (patch.replace && target === this.#constants.KLP_PATCHED) yield* this.#end.dropReplaced(patch);
    if (target === this.#constants.KLP_UNPATCHED) {
      yield* this.#patching.unpatchObjects(patch);
      // Once func->transition is clear the handler may choose a function that is still on a stack: none
      // may be able to see those of this patch.
      yield* klp.synchronize();
    }
    for (const func of this.#funcs(patch)) func.transition = false;
    yield* klp.stored();
    // No handler may have read func->transition as true and read patch_state only after the reset below.
    if (target === this.#constants.KLP_PATCHED) yield* klp.synchronize();
    for (const task of this.#tasks()) {
      if (task.testTif('TIF_PATCH_PENDING')) klp.warnOn(true, 'transition.c klp_complete_transition');
      task.patchState = this.#constants.KLP_UNDEFINED;
    }
    yield* klp.stored();
    for (const object of patch.objects()) {
      if (!object.isLoaded) continue;
      if (target === this.#constants.KLP_PATCHED) yield* klp.callback(object, 'post_patch');
      else yield* this.postUnpatch(object);
    }
    klp.notice(`'${patch.name}': ${this.#word(target)} complete`);
    this.#event('complete');
    klp.targetState = this.#constants.KLP_UNDEFINED;
    klp.transitionPatch = undefined;
    yield* klp.model.transitionEnd();
  }

  /** klp_post_unpatch_callback() */
  *postUnpatch(object: ReturnType<KlpPatch['objects']>[number]): HostGenerator<void> {
    if (object.postUnpatchEnabled) yield* this.#klp.callback(object, 'post_unpatch');
    object.postUnpatchEnabled = false;
  }

  /** klp_cancel_transition(): after init() and before start(), when patching failed. */
  *cancel(): HostGenerator<void> {
    const klp = this.#klp;
    const patch = klp.transitionPatch;
    if (
      klp.warnOn(klp.targetState !== this.#constants.KLP_PATCHED, 'transition.c klp_cancel_transition') ||
      !patch
    )
      return;
    klp.debug(DEBUG.cancel, `'${patch.name}': canceling patching transition, going to unpatch`);
    this.#event('canceling');
    klp.targetState = this.#constants.KLP_UNPATCHED;
    yield* this.#complete(patch);
  }

  /** klp_reverse_transition(): back to where the tasks came from. */
  *reverse(): HostGenerator<void> {
    const klp = this.#klp;
    const patch = klp.transitionPatch;
    if (!patch) return;
    const target = klp.targetState;
    const back =
      target === this.#constants.KLP_PATCHED ? this.#constants.KLP_UNPATCHED : this.#constants.KLP_PATCHED;
    klp.debug(
      DEBUG.reverse,
      `'${patch.name}': reversing transition from ${this.#word(target)} to ${this.#word(back)}`,
    );
    this.#event('reversing');
    const turn = (): void => {
      patch.enabled = !patch.enabled;
      klp.targetState = back;
    };
    const last = holds(klp.core.kernel, LIVEPATCH.reversesLast);
    if (!last) turn();
    for (const task of this.#tasks()) task.clearTif('TIF_PATCH_PENDING');
    yield* klp.stored();
    // A klp_update_patch_state() that saw the flag before may still be about to read the target.
    yield* klp.synchronize();
    if (last) turn();
    yield* this.start();
    yield* klp.stored();
  }

  /** klp_force_transition(): switches the rest, wherever they stand. */
  force(): void {
    const klp = this.#klp;
    const patch = klp.transitionPatch;
    const target = klp.targetState;
    klp.warn('forcing remaining tasks to the patched state');
    this.#event('forcing');
    for (const task of this.#tasks()) {
      if (!task.testTif('TIF_PATCH_PENDING')) continue;
      task.clearTif('TIF_PATCH_PENDING');
      task.patchState = target;
      this.#switched(task, target, 'force');
    }
    if (!patch) return;
    if (target === this.#constants.KLP_UNPATCHED) {
      patch.forced = true;
    } else if (patch.replace) {
      for (const other of klp.patches()) if (other.addr !== patch.addr) other.forced = true;
    }
  }

  /** klp_copy_process(): a child is where its parent is. */
  copyProcess(parent: TaskStruct, child: TaskStruct): void {
    if (parent.testTif('TIF_PATCH_PENDING')) child.setTif('TIF_PATCH_PENDING');
    else child.clearTif('TIF_PATCH_PENDING');
    child.patchState = parent.patchState;
    // A child of one that has switched never was in the old state: that is a way of its own.
    const { targetState } = this.#klp;
    if (targetState !== this.#constants.KLP_UNDEFINED && child.patchState === targetState)
      this.#switched(child, targetState, 'fork');
  }

  /** A task switched by klp_update_patch_state(), in guest code. @param caller who called that. */
  updatedPatchState(task: TaskStruct, caller: Addr): void {
    const name = this.#klp.core.symbols.nameOf(caller - 1n) ?? '';
    this.#switched(task, task.patchState, name.startsWith('do_idle') ? 'idle loop' : 'kernel exit');
  }

  #switched(task: TaskStruct, to: number, way: SwitchWay): void {
    const { events, clock } = this.#klp.core;
    if (!events.listens('patch_state')) return;
    const from =
      way === 'fork'
        ? this.#constants.KLP_UNDEFINED
        : to === this.#constants.KLP_PATCHED
          ? this.#constants.KLP_UNPATCHED
          : this.#constants.KLP_PATCHED;
    const sinceNs = clock.now() - this.#started;
    events.emit({ type: 'patch_state', pid: task.pid, comm: task.comm, from, to, way, sinceNs });
  }

  #blocked(task: TaskStruct, why: string, func?: string): void {
    const { core, ports } = this.#klp;
    this.#klp.debug(blockedSite(why), `klp_try_switch_task: ${task} ${why}`);
    if (!core.events.listens('blocked')) return;
    const stack = why === 'is running' ? [] : ports.stack.format(task);
    const body = { type: 'blocked' as const, pid: task.pid, comm: task.comm, why, stack };
    core.events.emit(func === undefined ? body : { ...body, func });
  }

  #event(what: string): void {
    const { core, transitionPatch, targetState } = this.#klp;
    if (!core.events.listens('transition')) return;
    core.events.emit({ type: 'transition', patch: transitionPatch?.name ?? '?', what, target: targetState });
  }

  /** for_each_process_thread(), then the idle tasks. */
  *#tasks(): IterableIterator<TaskStruct> {
    yield* this.#klp.core.tasks.processes();
    yield* this.#klp.core.tasks.idle;
  }

  #funcs(patch: KlpPatch) {
    return patch.objects().flatMap((object) => object.funcs());
  }
}

function blockedSite(why: string): DebugSite {
  if (why === 'is running') return DEBUG.running;
  return why === 'has an unreliable stack' ? DEBUG.unreliable : DEBUG.sleeping;
}
