// Ground truth of transitions: when a patch is complete, no task stands in a function it replaced.
// Mirrors nothing of the kernel's; it is what klp_check_stack() is judged by.

import { lo32 } from '../guest/addr.ts';
import type { KernelCore } from '../kernel/core.ts';
import { CONSTANTS } from '../kernel/layout.ts';
import type { TaskStruct } from '../kernel/task_struct.ts';
import type { Livepatch } from '../livepatch/core.ts';
import type { KlpFunc } from '../livepatch/structs.ts';
import type { Cpu } from './cpu.ts';
import { ForceHoles, inVersion, newVersion, type Version } from './force_hole.ts';
import { GroundTruthError, type Traces } from './traces.ts';

/** Ways of switching that are consistent; force is not. */
const VERIFIED: ReadonlySet<string> = new Set(['stack check', 'kernel exit', 'idle loop']);

/**
 * Where a task is that has entered a function and has no version yet: before the fentry call, or in it, where
 * liveFunctions() makes the call's last byte of the return address. Offsets from the function.
 */
const FENTRY_CALL: readonly number[] = [0, 4];

export class TransitionTruth {
  readonly #core: KernelCore;
  readonly #traces: Traces;
  readonly #cpu: (id: number) => Cpu;
  readonly #gaps: Set<TaskStruct>;
  /** Transitions that completed, tasks looked at, single switches checked. */
  transitions = 0;
  tasks = 0;
  switches = 0;
  /** What forced transitions left open, and who fell into it. */
  readonly holes: ForceHoles;
  #forced = false;
  /** What #replaced() says, until functions are registered, unregistered or loaded. */
  #leaving: { versions: readonly Version[]; entries: ReadonlySet<number> } | undefined;

  /** @param gaps tasks that got a version through the kernel's own gap: known, and told of elsewhere. */
  constructor(
    core: KernelCore,
    livepatch: Livepatch,
    traces: Traces,
    cpu: (id: number) => Cpu,
    gaps: Set<TaskStruct>,
  ) {
    this.#core = core;
    this.#gaps = gaps;
    this.#traces = traces;
    this.#cpu = cpu;
    this.holes = new ForceHoles(core);
    if (!traces.shadow) return;
    core.events.subscribe(
      (event) => {
        if (event.type === 'patch_state') {
          if (VERIFIED.has(event.way)) this.#checkSwitch(livepatch, event.pid, event.comm);
          return;
        }
        this.#leaving = undefined;
        if (event.type !== 'transition') return;
        if (event.what === 'forcing') this.#force(livepatch);
        if (event.what !== 'completing') return;
        if (!this.#forced) this.#check(livepatch);
        this.#forced = false;
      },
      ['patch_state', 'transition', 'module', 'ftrace'],
    );
    core.events.subscribe(
      (event) => {
        if (event.type !== 'task' || event.what !== 'exit') return;
        const task = core.tasks.byPid(event.pid);
        if (task) this.holes.forget(task);
      },
      ['task'],
    );
  }

  /** Whoever is switched now goes on in the function that it stands in. */
  #force(livepatch: Livepatch): void {
    this.#forced = true;
    const versions = this.#replaced(livepatch);
    for (const task of this.#tasks()) {
      if (!task.testTif('TIF_PATCH_PENDING')) continue;
      this.holes.leave(task, this.#live(task, versions), livepatch.transitionPatch?.name ?? '?');
    }
  }

  /** @throws GroundTruthError naming the task and the function. */
  #check(livepatch: Livepatch): void {
    const patch = livepatch.transitionPatch;
    if (!patch) return;
    const versions = this.#replaced(livepatch);
    // A task in the fentry call of the old function is on its way to the new one: its state is the target.
    const patching = livepatch.targetState === CONSTANTS.KLP_PATCHED;
    const entries = entriesOf(patching ? versions.filter((v) => v.start === v.site) : []);
    const entering = (ip: number): boolean => entries.has(ip);
    for (const task of this.#tasks()) {
      const live = this.#live(task, versions, entering);
      if (live.size === 0) this.#gaps.delete(task);
      this.#judge(
        livepatch,
        task,
        live,
        (name) => `'${patch.name}' is complete while ${task} stands in ${name}`,
      );
      this.tasks++;
    }
    this.transitions++;
  }

  /** A task that switches stands in no function of which it gets another version from now on. */
  #checkSwitch(livepatch: Livepatch, pid: number, comm: string): void {
    const task = pid === 0 ? this.#core.tasks.idle.find((t) => t.comm === comm) : this.#core.tasks.byPid(pid);
    if (!task || task.stackSlot < 0) return;
    this.#leaving ??= leaving(this.#replaced(livepatch));
    const live = this.#live(task, this.#leaving.versions, (ip) => this.#leaving?.entries.has(ip) === true);
    this.#judge(livepatch, task, live, (name) => `${task} switches while it stands in ${name}`);
    this.switches++;
  }

  /** What force, or the kernel's own gap, accounts for is told; anything else must not be. */
  #judge(livepatch: Livepatch, task: TaskStruct, live: Set<Version>, text: (name: string) => string): void {
    const left = this.holes.of(task);
    if (left.length > 0) {
      this.holes.keep(task, this.#live(task, left));
      this.holes.tell(task, livepatch.transitionPatch?.name ?? '?', wantedVersions(livepatch));
    }
    if (this.#gaps.has(task)) return;
    for (const { name, start } of live) {
      if (!left.some((one) => one.start === start)) throw new GroundTruthError(text(name));
    }
  }

  #tasks(): TaskStruct[] {
    return [...this.#core.tasks.processes(), ...this.#core.tasks.idle].filter((task) => task.stackSlot >= 0);
  }

  /** Those of the versions that are on the task's stack, or executed by it. */
  #live(task: TaskStruct, versions: readonly Version[], except?: (ip: number) => boolean): Set<Version> {
    const { shadow } = this.#traces;
    if (!shadow || versions.length === 0) return new Set();
    const where = (ip: number) => (except?.(ip) ? undefined : inVersion(versions, ip));
    return shadow.liveFunctions(task.stackSlot, this.#ip(task), where);
  }

  /** The code that nobody may be in any more: the versions below the new one, or the one that goes. */
  #replaced(livepatch: Livepatch): Version[] {
    const patching = livepatch.targetState === CONSTANTS.KLP_PATCHED;
    return loadedFuncs(livepatch).flatMap((func) => {
      const site = lo32(func.oldFunc);
      const version = (f: KlpFunc): Version => newVersion(this.#core, f, site, lo32(f.newFunc));
      if (!patching) return func.nop ? [] : [version(func)];
      const name = func.oldName ?? '?';
      const original = { func: name, site, name, start: site, end: site + func.oldSize };
      const below = livepatch.versionsBelow(func).filter((f) => !f.nop);
      return func.nop ? below.map(version) : [...below.map(version), original];
    });
  }

  /** Where a task executes now: its saved stack starts in __switch_to_asm, a running one is somewhere else. */
  #ip(task: TaskStruct): number | undefined {
    if (!task.onCpu) return undefined;
    const id = this.#core.tasks.idle.indexOf(task);
    const cpu = this.#cpu(id >= 0 ? id : task.cpu);
    return cpu.context.cpl === 0 ? lo32(cpu.rip) : undefined;
  }
}

/**
 * Where there are versions already, klp_check_stack() does not look for the original. A task may be in its fentry
 * call, and has no version yet.
 */
function leaving(versions: readonly Version[]): { versions: readonly Version[]; entries: Set<number> } {
  const patched = new Set(versions.filter((v) => v.start !== v.site).map((v) => v.site));
  const originals = versions.filter((v) => v.start === v.site && patched.has(v.site));
  return { versions, entries: entriesOf(originals) };
}

function entriesOf(originals: readonly Version[]): Set<number> {
  return new Set(originals.flatMap(({ start }) => FENTRY_CALL.map((offset) => start + offset)));
}

function loadedFuncs(livepatch: Livepatch): KlpFunc[] {
  const objects = livepatch.transitionPatch?.objects() ?? [];
  return objects.flatMap((object) => (object.isLoaded ? object.funcs() : []));
}

/** By site, the start of the version that tasks run once they have switched. */
function wantedVersions(livepatch: Livepatch): Map<number, number> {
  const patching = livepatch.targetState === CONSTANTS.KLP_PATCHED;
  return new Map(
    loadedFuncs(livepatch).map((func) => {
      const next = patching ? func : livepatch.versionsBelow(func)[0];
      return [lo32(func.oldFunc), lo32(next ? next.newFunc : func.oldFunc)];
    }),
  );
}
