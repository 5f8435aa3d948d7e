// Ground truth of transitions: when a patch is complete, no task stands in a function it replaced, nor in a part of
// one. Mirrors nothing of the kernel's; it is what klp_check_stack() is judged by.
//
// Invariant: a transition or a switch over a task in replaced code stops the machine, unless it is one of the holes
// that the kernel itself leaves (force, parts); those are told, and the transition is not counted among the good ones.

import type { Ftrace } from '../../ftrace/ftrace.ts';
import { lo32, TEXT_HI } from '../../guest/addr.ts';
import type { KernelCore } from '../../kernel/core.ts';
import type { SwitchWay } from '../../kernel/events.ts';
import type { TaskStruct } from '../../kernel/task_struct.ts';
import type { Livepatch } from '../../livepatch/core.ts';
import type { KlpFunc } from '../../livepatch/structs.ts';
import type { Cpu } from '../cpu/cpu.ts';
import { ForceHoles } from './force_hole.ts';
import { PartHoles } from './part_hole.ts';
import { type Replaced, ReplacedCode } from './replaced_code.ts';
import { GroundTruthError, type Traces } from './traces.ts';
import { type Piece, pieceAt } from './version.ts';

/** Ways of switching that are consistent; force is not. */
const VERIFIED: ReadonlySet<string> = new Set([
  'stack check',
  'cond_resched',
  'freezable sleep',
  'kernel exit',
  'idle loop',
]);
/** Those of them that klp_check_stack() decides. */
const BY_STACK: ReadonlySet<string> = new Set(['stack check', 'cond_resched', 'freezable sleep']);

/** Offset in a call's bytes that liveFunctions() makes of its return address. */
const CALL_END = 4;

export class TransitionTruth {
  readonly #core: KernelCore;
  readonly #traces: Traces;
  readonly #cpus: readonly Cpu[];
  readonly #gaps: Set<TaskStruct>;
  readonly #ftrace: Ftrace;
  readonly #code: ReplacedCode;
  /** Transitions that completed over no task in replaced code, and tasks looked at for that. */
  transitions = 0;
  tasks = 0;
  /** Transitions that completed over one. */
  overTasks = 0;
  /** Single switches of a task that stood in nothing replaced. */
  switches = 0;
  /** What forced transitions left open, and who fell into it. */
  readonly holes: ForceHoles;
  /** Tasks in parts of functions. */
  readonly parts: PartHoles;
  #forced = false;
  /** Until functions are registered, unregistered or loaded. */
  #leaving: ((ip: number) => Piece | undefined) | undefined;

  /**
   * @param gaps tasks that got a version through the kernel's own gap: known, and told of elsewhere.
   */
  constructor(
    core: KernelCore,
    livepatch: Livepatch,
    traces: Traces,
    cpus: readonly Cpu[],
    gaps: Set<TaskStruct>,
    ftrace: Ftrace,
  ) {
    this.#core = core;
    this.#gaps = gaps;
    this.#traces = traces;
    this.#cpus = cpus;
    this.#ftrace = ftrace;
    this.#code = new ReplacedCode(core, livepatch);
    this.holes = new ForceHoles(core);
    this.parts = new PartHoles(core);
    if (!traces.shadow) return;
    core.events.subscribe(
      (event) => {
        if (event.type === 'patch_state') {
          if (VERIFIED.has(event.way)) this.#checkSwitch(livepatch, event.pid, event.comm, event.way);
          return;
        }
        this.#leaving = undefined;
        if (event.type !== 'transition') return;
        if (event.what === 'starting') this.parts.begin();
        if (event.what === 'forcing') this.#force(livepatch);
        if (event.what !== 'completing') return;
        if (!this.#forced) this.#check(livepatch);
        this.#forced = false;
      },
      ['patch_state', 'transition', 'module'],
    );
    ftrace.onUpdated.push(() => {
      this.#leaving = undefined;
    });
    core.events.subscribe(
      (event) => {
        if (event.type !== 'task' || event.what !== 'exit') return;
        const task = core.tasks.byPid(event.pid);
        if (!task) return;
        this.holes.forget(task);
        this.parts.forget(task);
      },
      ['task'],
    );
  }

  /** Whoever is switched now goes on in the function that it stands in. */
  #force(livepatch: Livepatch): void {
    this.#forced = true;
    const replaced = this.#code.current();
    for (const task of this.#tasks()) {
      if (!task.testTif('TIF_PATCH_PENDING')) continue;
      this.holes.leave(task, this.#live(task, replaced.pieceAt), livepatch.transitionPatch?.name ?? '?');
    }
  }

  /** @throws GroundTruthError naming the task and the function. */
  #check(livepatch: Livepatch): void {
    const patch = livepatch.transitionPatch;
    if (!patch) return;
    const replaced = this.#code.current();
    // A task in the fentry call of the old function is on its way to the new one: its state is the target.
    const where = this.#outsideOf(replaced, this.#entriesOf(replaced.originals(0)));
    let looked = 0;
    let clean = true;
    for (const task of this.#tasks()) {
      const live = this.#live(task, where);
      if (live.size === 0) this.#gaps.delete(task);
      const text = (name: string): string => `'${patch.name}' is complete while ${task} stands in ${name}`;
      if (!this.#judge(livepatch, task, live, true, text)) clean = false;
      looked++;
    }
    if (clean) {
      this.transitions++;
      this.tasks += looked;
    } else this.overTasks++;
  }

  /** A task that switches stands in no function of which it gets another version from now on. */
  #checkSwitch(livepatch: Livepatch, pid: number, comm: string, way: SwitchWay): void {
    const task = pid === 0 ? this.#core.tasks.idle.find((t) => t.comm === comm) : this.#core.tasks.byPid(pid);
    if (!task || task.stackSlot < 0) return;
    this.#leaving ??= this.#leavingNow();
    const live = this.#live(task, this.#leaving);
    const text = (name: string): string => `${task} switches while it stands in ${name}`;
    // On its way out of the kernel, or in the idle loop, a task stands in nothing, whatever its stack is compared with.
    if (this.#judge(livepatch, task, live, BY_STACK.has(way), text)) this.switches++;
  }

  /**
   * What force, the kernel's own gap, or the limits of its stack check account for is told; anything else must not be.
   * @param partsUnseen the task may stand in a part of a function.
   * @returns whether it stands in nothing at all. @throws GroundTruthError
   */
  #judge(
    livepatch: Livepatch,
    task: TaskStruct,
    live: ReadonlySet<Piece>,
    partsUnseen: boolean,
    text: (name: string) => string,
  ): boolean {
    const patch = livepatch.transitionPatch?.name ?? '?';
    let clean = live.size === 0;
    const left = this.holes.of(task);
    if (left.length > 0) {
      this.holes.keep(
        task,
        this.#live(task, (ip) => pieceAt(left, ip)),
      );
      if (this.holes.tell(task, patch, wantedVersions(livepatch))) clean = false;
    }
    if (this.#gaps.has(task)) return clean;
    for (const piece of live) {
      if (left.some((one) => one.start === piece.start)) continue;
      if (!piece.part || !partsUnseen) throw new GroundTruthError(text(piece.name));
      this.parts.tell(task, piece, patch);
    }
    return clean;
  }

  #tasks(): TaskStruct[] {
    return [...this.#core.tasks.processes(), ...this.#core.tasks.idle].filter((task) => task.stackSlot >= 0);
  }

  /** The pieces that a task's stack leads into, or that it executes. */
  #live(task: TaskStruct, where: (ip: number) => Piece | undefined): Set<Piece> {
    const { shadow } = this.#traces;
    return shadow ? shadow.liveFunctions(task.stackSlot, this.#ip(task), where) : new Set();
  }

  /**
   * Where there are versions already, klp_check_stack() does not look for the original. A task may be in its fentry
   * call, and has no version yet.
   */
  #leavingNow(): (ip: number) => Piece | undefined {
    const replaced = this.#code.current();
    return this.#outsideOf(replaced, this.#entriesOf(replaced.originals(1)));
  }

  #outsideOf(replaced: Replaced, entries: ReadonlySet<number>): (ip: number) => Piece | undefined {
    return (ip) => (!replaced.any || entries.has(ip) ? undefined : replaced.pieceAt(ip));
  }

  /**
   * Where a task is that has entered a function and has no version yet: at its start, which may be an endbr64 before
   * the fentry call, before that call, or in it.
   */
  #entriesOf(originals: readonly number[]): Set<number> {
    return new Set(
      originals.flatMap((start) => {
        const site = lo32(this.#ftrace.location((BigInt(TEXT_HI) << 32n) | BigInt(start))) || start;
        return [start, site, site + CALL_END];
      }),
    );
  }

  /** Where a task executes now: its saved stack starts in __switch_to_asm, a running one is somewhere else. */
  #ip(task: TaskStruct): number | undefined {
    if (!task.onCpu) return undefined;
    const id = this.#core.tasks.idle.indexOf(task);
    const cpu = this.#cpus[id >= 0 ? id : task.cpu];
    return !cpu.context.userMode ? lo32(cpu.pc) : undefined;
  }
}

function loadedFuncs(livepatch: Livepatch): KlpFunc[] {
  const objects = livepatch.transitionPatch?.objects() ?? [];
  return objects.flatMap((object) => (object.isLoaded ? object.funcs() : []));
}

/** By entry, the start of the version that tasks run once they have switched. */
function wantedVersions(livepatch: Livepatch): Map<number, number> {
  const patching = livepatch.targetState === livepatch.context.constants.KLP_PATCHED;
  return new Map(
    loadedFuncs(livepatch).map((func) => {
      const next = patching ? func : livepatch.patching.below(func);
      return [lo32(func.oldFunc), lo32(next ? next.newFunc : func.oldFunc)];
    }),
  );
}
