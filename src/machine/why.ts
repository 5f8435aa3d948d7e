// Why a transition is not over: each task that has not switched, where it stands, and what would let it go on.
// Asks what klp_try_switch_task() asks, without switching anything.

import { taskState } from '../fs/proc_pid.ts';
import { hex } from '../guest/addr.ts';
import type { TaskStruct } from '../kernel/task_struct.ts';
import { StackCheck } from '../livepatch/check_stack.ts';
import type { KlpPatch } from '../livepatch/structs.ts';
import { kernelText } from '../unwind/stacktrace.ts';
import type { Inspect } from './inspect.ts';

type Reason = 'running' | 'unreliable stack' | 'sleeping on function' | 'no reliable stack traces' | 'none';

export interface BlockedTask {
  readonly pid: number;
  readonly comm: string;
  readonly kind: 'user task' | 'kernel thread' | 'idle task';
  /** As /proc/PID/status has it. */
  readonly state: string;
  readonly reason: Reason;
  /** The function that is being replaced, or where the walk of the stack failed. */
  readonly function?: string;
  /** Which frame of the stack it is, from 0, innermost first. */
  readonly frame?: number;
  /** Why the stack is not reliable. */
  readonly detail?: string;
  /** What would let it switch. */
  readonly release: readonly string[];
  readonly stack: readonly string[];
}

export interface Explanation {
  readonly patch: string;
  readonly direction: 'patching' | 'unpatching';
  /** Virtual ns: now, and since when tasks could switch. */
  readonly now: number;
  readonly since: number;
  /** How often all tasks were tried, and how many have switched. */
  readonly attempts: number;
  readonly switched: number;
  readonly blocked: readonly BlockedTask[];
}

/** klp_send_signals() comes after this many attempts, one a second. */
const SIGNALS_TIMEOUT = 15;

/** undefined: no transition is under way. */
export function explainTransition(parts: Inspect): Explanation | undefined {
  const { livepatch, core } = parts;
  const patch = livepatch.transitionPatch;
  if (!patch) return undefined;
  const target = livepatch.targetState;
  const tasks = [...core.tasks.processes(), ...core.tasks.idle];
  const left = tasks.filter((task) => task.patchState !== target);
  const attempts = core.mem.readU32(core.symbols.require('klp_signals_cnt'));
  const explain = explainer(parts, patch, target, attempts);
  return {
    patch: patch.name,
    direction: target === parts.core.kernel.constants.KLP_PATCHED ? 'patching' : 'unpatching',
    now: parts.smp.now(),
    since: livepatch.transition.startedAt,
    attempts,
    switched: tasks.length - left.length,
    blocked: left.map(explain),
  };
}

function explainer(
  parts: Inspect,
  patch: KlpPatch,
  target: number,
  attempts: number,
): (task: TaskStruct) => BlockedTask {
  const check = new StackCheck(parts.livepatch.patching, patch, target);
  const { stackTrace } = parts.traces;
  return (task) => {
    const about = {
      pid: task.pid,
      comm: task.comm,
      kind: kindOf(parts, task),
      state: task.onCpu ? 'on a CPU' : taskState(parts.core.kernel, task.state),
      stack: parts.traces.format(task),
    };
    const frames = (entries: readonly bigint[]): string[] =>
      entries.map((addr) => `[<0>] ${parts.core.symbols.formatReturn(addr)}`);
    const found = (reason: Reason, rest: Partial<BlockedTask> = {}): BlockedTask => ({
      ...about,
      reason,
      ...rest,
      release: releases(parts, task, reason, attempts, rest.function),
    });
    if (!stackTrace.haveReliableStack) return found('no reliable stack traces');
    if (task.onCpu) return found('running');
    const trace = stackTrace.explainTskReliable(task, (addr) => parts.core.symbols.formatReturn(addr));
    if (!trace.ok) {
      const where = trace.ip === 0n ? undefined : parts.core.symbols.formatReturn(trace.ip);
      return found('unreliable stack', {
        ...(where === undefined || where === hex(trace.ip) ? {} : { function: where }),
        frame: trace.frame,
        detail: trace.reason,
        stack: frames(trace.entries),
      });
    }
    for (const [frame, addr] of trace.entries.entries()) {
      check.entries[0] = Number(addr & 0xffffffffn);
      const index = check.find(1);
      if (index < 0) continue;
      const name = parts.core.symbols.nameOf(kernelText(check.entries[0])) ?? check.nameOf(index);
      return found('sleeping on function', { function: name, frame, stack: frames(trace.entries) });
    }
    return found('none');
  };
}

function kindOf(parts: Inspect, task: TaskStruct): BlockedTask['kind'] {
  if (parts.core.tasks.idle.includes(task)) return 'idle task';
  return task.isKthread ? 'kernel thread' : 'user task';
}

const FORCE = 'echo 1 > force switches it where it stands: only when it is known to be safe';

function releases(
  parts: Inspect,
  task: TaskStruct,
  reason: Reason,
  attempts: number,
  func: string | undefined,
): string[] {
  const kind = kindOf(parts, task);
  if (reason === 'none') return ['nothing is in its way: the next attempt, within a second, switches it'];
  if (kind === 'idle task')
    return ['its CPU coming through the idle loop, which the next attempt makes it do'];
  const exit = kind === 'user task' ? ['its next return to user mode'] : [];
  if (reason === 'running')
    return [
      ...exit,
      'being found off its CPU, and not in a function that changes, by an attempt (one a second)',
    ];
  if (reason === 'unreliable stack')
    return [...exit, 'being found at a place where its stack can be followed', FORCE];
  const where = func === undefined ? 'the kernel' : func;
  const ways = [...exit, ...sleepReleases(parts, task, kind, attempts)];
  if (reason === 'sleeping on function' && kind === 'kernel thread') ways.unshift(`its return from ${where}`);
  return [...ways, FORCE];
}

/** What wakes a sleeping task. */
function sleepReleases(
  parts: Inspect,
  task: TaskStruct,
  kind: BlockedTask['kind'],
  attempts: number,
): string[] {
  const wchan = parts.traces.wchan(task) ?? 'its sleep';
  const interruptible = (task.state & parts.core.kernel.constants.TASK_INTERRUPTIBLE) !== 0;
  if (!interruptible) return [`the end of ${wchan}: no signal reaches a task in state D`];
  const fake = attempts < SIGNALS_TIMEOUT ? `in about ${SIGNALS_TIMEOUT - attempts} s` : 'again every 15 s';
  if (kind === 'user task')
    return [`a signal that ends ${wchan}: the fake signal of the livepatch core comes ${fake}`];
  return [`the end of ${wchan}: the livepatch core wakes it ${fake}, but it may go back to sleep`];
}

/** The explanation as a person reads it. */
export function explanationText(explanation: Explanation): string {
  const { patch, direction, now, since, attempts, switched, blocked } = explanation;
  const seconds = ((now - since) / 1e9).toFixed(1);
  const retries = attempts === 1 ? '1 attempt' : `${attempts} attempts`;
  let text = `${patch}: ${direction} for ${seconds} s, ${retries}; ${switched} switched, ${blocked.length} not\n`;
  for (const task of blocked) text += `\n${taskText(task)}`;
  return text;
}

function taskText(task: BlockedTask): string {
  const { comm, pid, kind, state, stack } = task;
  const lines = [`${comm}:${pid} (${kind}, ${state}) ${reasonText(task)}`];
  stack.forEach((line, i) => {
    lines.push(`  ${task.frame === i ? '>' : ' '} ${line}`);
  });
  if (task.frame === stack.length) lines.push('  > here the walk ends');
  lines.push(`  released by: ${task.release[0]}`);
  for (const way of task.release.slice(1)) lines.push(`           or: ${way}`);
  return lines.map((line) => `${line}\n`).join('');
}

function reasonText({ reason, function: func, frame, detail }: BlockedTask): string {
  if (reason === 'running') return 'is running';
  if (reason === 'none') return 'can switch';
  if (reason === 'sleeping on function') return `is sleeping on function ${func} (frame ${frame})`;
  if (reason === 'unreliable stack') return `has an unreliable stack: ${detail} (frame ${frame})`;
  return 'cannot be looked at: this machine has no reliable stack traces';
}
