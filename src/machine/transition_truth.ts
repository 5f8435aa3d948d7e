// Ground truth of transitions: when a patch is complete, no task stands in a function it replaced.
// Mirrors nothing of the kernel's; it is what klp_check_stack() is judged by.

import { lo32 } from '../guest/addr.ts';
import type { KernelCore } from '../kernel/core.ts';
import { CONSTANTS } from '../kernel/layout.ts';
import type { TaskStruct } from '../kernel/task_struct.ts';
import type { Livepatch } from '../livepatch/core.ts';
import type { Cpu } from './cpu.ts';
import { GroundTruthError, type Traces } from './traces.ts';

/** Ways of switching that are consistent; force is not. */
const VERIFIED: ReadonlySet<string> = new Set(['stack check', 'kernel exit', 'idle loop']);

/** The last byte of a function's fentry call: what liveFunctions() makes of the return address behind it. */
const FENTRY_RETURN = 4;

interface Range {
  readonly name: string;
  readonly start: number;
  readonly end: number;
}

export class TransitionTruth {
  readonly #core: KernelCore;
  readonly #traces: Traces;
  readonly #cpu: (id: number) => Cpu;
  readonly #gaps: Set<TaskStruct>;
  /** Transitions that completed, tasks looked at, single switches checked. */
  transitions = 0;
  tasks = 0;
  switches = 0;
  #forced = false;

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
    if (!traces.shadow) return;
    core.events.subscribe(
      (event) => {
        if (event.type === 'patch_state' && VERIFIED.has(event.way))
          this.#checkSwitch(livepatch, event.pid, event.comm);
        if (event.type !== 'transition') return;
        if (event.what === 'forcing') this.#forced = true;
        if (event.what !== 'completing') return;
        if (!this.#forced) this.#check(livepatch);
        this.#forced = false;
      },
      ['patch_state', 'transition'],
    );
  }

  /** @throws GroundTruthError naming the task and the function. */
  #check(livepatch: Livepatch): void {
    const { shadow } = this.#traces;
    const patch = livepatch.transitionPatch;
    if (!shadow || !patch) return;
    const ranges = replaced(livepatch);
    // A task in the fentry call of the old function is on its way to the new one: its state is the target.
    const inFentry = (ip: number): boolean =>
      livepatch.targetState === CONSTANTS.KLP_PATCHED && ranges.some((r) => ip === r.start + FENTRY_RETURN);
    const where = (ip: number): string | undefined => (inFentry(ip) ? undefined : inRange(ranges, ip));
    for (const task of [...this.#core.tasks.processes(), ...this.#core.tasks.idle]) {
      if (task.stackSlot < 0) continue;
      const live = shadow.liveFunctions(task.stackSlot, this.#ip(task), where);
      if (live.size === 0) this.#gaps.delete(task);
      for (const name of live) {
        if (this.#gaps.has(task)) continue;
        throw new GroundTruthError(`'${patch.name}' is complete while ${task} stands in ${name}`);
      }
      this.tasks++;
    }
    this.transitions++;
  }

  /** A task that switches stands in no function of which it gets another version from now on. */
  #checkSwitch(livepatch: Livepatch, pid: number, comm: string): void {
    const { shadow } = this.#traces;
    const task = pid === 0 ? this.#core.tasks.idle.find((t) => t.comm === comm) : this.#core.tasks.byPid(pid);
    if (!shadow || !task || task.stackSlot < 0) return;
    const ranges = replaced(livepatch);
    for (const name of shadow.liveFunctions(task.stackSlot, this.#ip(task), (ip) => inRange(ranges, ip))) {
      throw new GroundTruthError(`${task} switches while it stands in ${name}`);
    }
    this.switches++;
  }

  /** Where a task executes now: its saved stack starts in __switch_to_asm, a running one is somewhere else. */
  #ip(task: TaskStruct): number | undefined {
    if (!task.onCpu) return undefined;
    const id = this.#core.tasks.idle.indexOf(task);
    const cpu = this.#cpu(id >= 0 ? id : task.cpu);
    return cpu.context.cpl === 0 ? lo32(cpu.rip) : undefined;
  }
}

/** The code that nobody may be in any more. Low halves. */
function replaced(livepatch: Livepatch): Range[] {
  const patched = livepatch.targetState === CONSTANTS.KLP_PATCHED;
  const ranges: Range[] = [];
  for (const object of livepatch.transitionPatch?.objects() ?? []) {
    if (!object.isLoaded) continue;
    for (const func of object.funcs()) {
      const [addr, size] = patched ? [func.oldFunc, func.oldSize] : [func.newFunc, func.newSize];
      const start = lo32(addr);
      ranges.push({ name: func.oldName ?? '?', start, end: start + size });
    }
  }
  return ranges;
}

function inRange(ranges: readonly Range[], ip: number): string | undefined {
  return ranges.find((r) => ip >= r.start && ip < r.end)?.name;
}
