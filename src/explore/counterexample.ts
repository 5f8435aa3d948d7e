// What was found, as a maintainer draws it: a column a CPU, a line for each event that matters, by the kernel's functions, and
// under them the sentence that says what broke.

import type { KernelEvent } from '../kernel/events.ts';
import type { Action } from '../machine/schedule.ts';
import type { ExecutionOptions } from './execution.ts';
import type { Problem } from './judges.ts';
import type { Visit } from './steered_run.ts';

export interface Line {
  readonly cpu: number;
  readonly text: string;
  /** Virtual ns; undefined for what stands for others. */
  readonly t?: number;
}

interface Noted extends Line {
  /** Matters where the problem is about this task; undefined: always. */
  readonly pid?: number;
}

/** Lines before the first thing that was done, and in all. */
const BEFORE = 6;
const MOST = 44;

const TRANSITION: Readonly<Record<string, string>> = {
  initializing: 'klp_init_transition()',
  starting: 'klp_start_transition()',
  completing: 'klp_complete_transition()',
  complete: 'klp_complete_transition() is over',
  canceling: 'klp_cancel_transition()',
  reversing: 'klp_reverse_transition()',
  forcing: 'klp_force_transition()',
};

const WAYS = {
  'stack check': 'klp_try_switch_task()',
  cond_resched: '__klp_sched_try_switch(), cond_resched()',
  'freezable sleep': '__klp_sched_try_switch(), __schedule()',
  'kernel exit': 'klp_update_patch_state(), kernel exit',
  'idle loop': 'klp_update_patch_state(), idle loop',
  fork: 'klp_copy_process()',
  force: 'klp_force_transition()',
} as const;

/** Functions that are told of when a CPU comes to them; and of them those that only matter of a task that is looked at. */
const LIVEPATCHS_OWN =
  /^(klp_|__klp|ftrace_trampoline$|enabled_store|force_store|copy_process|kthread_create_on_node|kthread_should_stop|__do_sys_)/;
const OF_A_TASK = /^(klp_ftrace_handler|klp_update_patch_state|klp_trace_patch_state|ftrace_trampoline)$/;

/** Listens to an execution. */
export class Story implements NonNullable<ExecutionOptions['tell']> {
  readonly #lines: Noted[] = [];
  /** Where it begins to matter, and where it broke. */
  #first: number | undefined;
  #broke: number | undefined;
  /** The function that each CPU was last seen in. */
  readonly #inside: string[] = [];
  /** Who was last seen on each CPU. */
  readonly #who: string[] = [];

  visit({ cpu, pid, point }: Visit, comm: string, t: number): void {
    const name = point.replace(/\+0x[0-9a-f]+.*$/, '');
    const who = `${comm}:${pid}`;
    if (this.#inside[cpu] === name && this.#who[cpu] === who) return;
    this.#inside[cpu] = name;
    this.#who[cpu] = who;
    if (!LIVEPATCHS_OWN.test(name)) return;
    const text = `${who} ${name === 'ftrace_trampoline' ? 'ftrace trampoline' : `${name}()`}`;
    this.#lines.push({ cpu, text, t, ...(OF_A_TASK.test(name) ? { pid } : {}) });
  }

  action({ kind, cpu, stores }: Action, t: number): void {
    this.#first ??= this.#lines.length;
    const text = kind === 'p' ? `${this.#who[cpu]} is preempted` : 'stands still';
    const seen = kind === 'w' ? `: others see ${stores} of its last stores` : '';
    this.#lines.push({ cpu, text: `>>> ${text}, in ${this.#inside[cpu]}()${seen}`, t });
    // Whoever is there next is told of again.
    this.#inside[cpu] = '';
  }

  event(event: KernelEvent): void {
    const text = textOf(event);
    if (text === undefined) return;
    const whose = 'pid' in event && !isWrong(event) ? { pid: event.pid } : {};
    this.#lines.push({ cpu: event.cpu, text, t: event.t, ...whose });
    if (isWrong(event)) this.#broke ??= this.#lines.length;
  }

  /** From shortly before the first thing that was done, to where it broke; of other tasks than the problems' only what all see. */
  about(problems: readonly Problem[]): readonly Line[] {
    const pids = new Set(
      problems.flatMap(({ text }) => [...text.matchAll(/\S:(\d+)(?=\s)/g)].map(([, pid]) => Number(pid))),
    );
    const matters = ({ pid }: Noted): boolean => pid === undefined || pids.size === 0 || pids.has(pid);
    const end = this.#broke ?? this.#lines.length;
    const first = Math.min(this.#first ?? end, end);
    const before = this.#lines.slice(0, first).filter(matters).slice(-BEFORE);
    const lines = collapsed([...before, ...this.#lines.slice(first, end).filter(matters)]);
    if (lines.length <= MOST) return lines;
    const half = MOST / 2;
    const left = lines.length - 2 * half;
    return [...lines.slice(0, half), { cpu: -1, text: `... ${left} lines ...` }, ...lines.slice(-half)];
  }
}

/** What repeats itself is told once. */
function collapsed(lines: readonly Line[]): Line[] {
  return lines.filter(({ cpu, text }, i) => {
    const before = lines.slice(Math.max(0, i - 4), i).some((line) => line.cpu === cpu && line.text === text);
    return !before;
  });
}

function isWrong({ type, ...event }: KernelEvent): boolean {
  if (type === 'gap' || type === 'hole' || type === 'oops') return true;
  return type === 'printk' && /\b(WARNING|BUG): /.test((event as { text?: string }).text ?? '');
}

function textOf(event: KernelEvent): string | undefined {
  switch (event.type) {
    case 'transition': {
      const name = TRANSITION[event.what];
      return name && `${name} '${event.patch}', ${event.target === 1 ? 'patching' : 'unpatching'}`;
    }
    case 'patch_state':
      return `${WAYS[event.way]}: ${event.comm}:${event.pid} patch_state = ${event.to}`;
    case 'blocked':
      return `klp_try_switch_task(): ${event.comm}:${event.pid} ${event.why}`;
    case 'gap':
      return `*** ${event.comm}:${event.pid} enters ${event.version === 'original' ? `the original ${event.func}` : event.version}, patch_state ${event.patchState}`;
    case 'hole':
      return `*** ${event.comm}:${event.pid} still stands in ${event.version} of ${event.func}`;
    case 'ftrace':
      return `${event.what}_ftrace_function(): ${event.where}`;
    case 'module':
      return `${event.name}: MODULE_STATE_${event.state}`;
    case 'task':
      return event.what === 'new'
        ? `copy_process(): ${event.comm}:${event.pid}`
        : `do_exit(): ${event.comm}:${event.pid}`;
    case 'oops':
      return `*** ${event.text.split('\n')[0]}`;
    case 'printk':
      return /\b(WARNING|BUG): /.test(event.text) ? `*** ${event.text}` : undefined;
    default:
      return undefined;
  }
}

/** The columns, as text of at most `width` columns. */
export function drawn(lines: readonly Line[], problems: readonly Problem[], width: number): string {
  const cpus = [...new Set(lines.map(({ cpu }) => cpu).filter((cpu) => cpu >= 0))].sort((a, b) => a - b);
  const column = Math.max(24, Math.floor((width - 2) / Math.max(1, cpus.length)) - 2);
  const row = (at: number, text: string): string[] =>
    wrapped(text, column).map((part) => `  ${' '.repeat(at * (column + 2))}${part}`.trimEnd());
  const head = `  ${cpus.map((cpu) => `CPU ${cpu}`.padEnd(column + 2)).join('')}`.trimEnd();
  const rule =
    `  ${cpus.map((cpu) => '-'.repeat(`CPU ${cpu}`.length).padEnd(column + 2)).join('')}`.trimEnd();
  const body = lines.flatMap(({ cpu, text }) => row(Math.max(0, cpus.indexOf(cpu)), text));
  return [head, rule, ...body, '', ...problems.map(({ text }) => `  ${text}`)].join('\n');
}

/** Words that do not fit go on below, indented. */
function wrapped(text: string, width: number): string[] {
  const parts: string[] = [];
  let line = '';
  for (const word of text.split(' ')) {
    const next = line === '' ? word : `${line} ${word}`;
    if (next.length > width && line !== '') {
      parts.push(line);
      line = `  ${word}`;
    } else line = next;
  }
  return [...parts, line];
}
