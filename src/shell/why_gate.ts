// Who waits on the gate of the bundle model, and for what: loads and unloads for a transition, transitions for loads
// under way (src/bundle/gate.ts).

import { GATE, type Gate, type GateWait } from '../bundle/gate.ts';
import { taskState } from '../fs/proc_pid.ts';
import type { TaskStruct } from '../kernel/task_struct.ts';
import type { Machine } from '../machine/machine.ts';

interface TaskStack {
  readonly pid: number;
  readonly comm: string;
  readonly stack: readonly string[];
}

interface GateWaiter extends TaskStack {
  readonly kind: 'user task' | 'kernel thread';
  /** As /proc/PID/status has it. */
  readonly state: string;
  /** What it is going to do. */
  readonly wants: 'load or unload a module' | 'begin a transition';
  readonly waitsFor: string;
  /** Virtual ns since it arrived. */
  readonly waited: number;
  readonly release: readonly string[];
  /** Tasks whose loads it waits for. */
  readonly loads: readonly TaskStack[];
}

/** In the order of arrival; none in the classic model. */
export function explainGate(machine: Machine): GateWaiter[] {
  const gate = machine.inspect.bundles?.gate;
  return gate ? gate.waits.map((wait) => explainWait(machine, gate, wait)) : [];
}

function explainWait(machine: Machine, gate: Gate, { task, how, since }: GateWait): GateWaiter {
  const transition = (how & GATE.transition) !== 0;
  const stackOf = (other: TaskStruct): TaskStack => ({
    pid: other.pid,
    comm: other.comm,
    stack: machine.stack(other),
  });
  const signal =
    how & GATE.noRestart
      ? 'a signal, after which what it asked for fails with EINTR'
      : 'a signal, the fake one of the livepatch core too: its system call starts again';
  return {
    ...stackOf(task),
    kind: task.isKthread ? 'kernel thread' : 'user task',
    state: taskState(machine.inspect.core.kernel, task.state),
    wants: transition ? 'begin a transition' : 'load or unload a module',
    waitsFor: gate.blocker(how),
    waited: machine.now() - since,
    release: [`the end of ${gate.held ? 'that transition' : transition ? 'those loads' : 'that'}`, signal],
    loads: transition ? gate.loading.filter((other) => other !== task).map(stackOf) : [],
  };
}

/** As a person reads it. */
export function gateText(waiters: readonly GateWaiter[]): string {
  return waiters.map(waiterText).join('\n');
}

function waiterText({
  comm,
  pid,
  kind,
  state,
  wants,
  waitsFor,
  waited,
  stack,
  release,
  loads,
}: GateWaiter): string {
  const lines = [
    `${comm}:${pid} (${kind}, ${state}) is to ${wants}; on the gate for ${(waited / 1e9).toFixed(1)} s`,
    ...stack.map((line) => `    ${line}`),
    `  waits for: ${waitsFor}`,
    ...loads.flatMap((load) => [
      `  ${load.comm}:${load.pid} loads or unloads a module:`,
      ...load.stack.map((line) => `    ${line}`),
    ]),
    `  released by: ${release[0]}`,
    ...release.slice(1).map((way) => `           or: ${way}`),
  ];
  return lines.map((line) => `${line}\n`).join('');
}
