// The facts of a run, gathered from the event log: which sites were rewritten, how each transition went,
// who was blocked on what, who switched when and by which way.

import type { Addr } from '../guest/addr.ts';
import type { EventType, KernelEvent, SwitchWay } from '../kernel/events.ts';

export interface SiteRewrite {
  readonly t: number;
  readonly what: 'register' | 'unregister';
  /** `function+0x0/0x30 [module]` */
  readonly where: string;
  readonly ip: Addr;
  readonly trampoline: Addr;
  readonly before: Uint8Array;
  readonly after: Uint8Array;
  /** What the trampoline calls. */
  readonly handler?: string;
}

export interface TaskSwitch {
  readonly t: number;
  readonly pid: number;
  readonly comm: string;
  readonly to: number;
  readonly way: SwitchWay;
  /** ns since the transition could begin to switch tasks. */
  readonly sinceNs: number;
}

export interface TaskBlocked {
  readonly pid: number;
  readonly comm: string;
  /** `is sleeping on function F`, `is running`, `has an unreliable stack` */
  readonly why: string;
  readonly func?: string;
  /** As /proc/PID/stack, when first seen. */
  readonly stack: readonly string[];
  readonly firstT: number;
  lastT: number;
  times: number;
}

export type TransitionOutcome = 'running' | 'complete' | 'reversed' | 'canceled';

export interface TransitionFacts {
  readonly patch: string;
  /** KLP_PATCHED (1) or KLP_UNPATCHED (0). */
  readonly target: number;
  readonly startedAt: number;
  /** Tasks there were when it started, idle tasks among them. */
  readonly tasks: number;
  endedAt?: number;
  outcome: TransitionOutcome;
  forced: boolean;
  /** In the order in which they switched; those born switched are only counted. */
  readonly switches: TaskSwitch[];
  /** Children that a task which had switched forked. */
  born: number;
  readonly blocked: TaskBlocked[];
}

export interface Oops {
  readonly t: number;
  readonly pid: number;
  readonly comm: string;
  readonly text: string;
}

/** A task that ran a version chosen before it switched: docs/findings.md. */
export interface Gap {
  readonly t: number;
  readonly pid: number;
  readonly comm: string;
  readonly func: string;
  /** Name of the function that ran. */
  readonly version: string;
  readonly patchState: number;
}

/** A task in replaced code when a transition took it for switched, or completed: docs/findings.md. */
export interface Hole {
  readonly t: number;
  readonly pid: number;
  readonly comm: string;
  readonly func: string;
  /** Name of the function that it stands in. */
  readonly version: string;
  /** The patch whose transition does not see it. */
  readonly patch: string;
  /** The patch whose forced transition left it there, before. */
  readonly forced?: string;
  /** The part of that function that it stands in, which the compiler split off. */
  readonly part?: string;
}

/** What the recorder asks about the machine at the moment of an event. */
interface RecorderPort {
  countTasks(): number;
  /** Name of the function that a trampoline calls. */
  handlerOf(trampoline: Addr): string | undefined;
}

export class Recorder {
  /** What it has to be told of. */
  static readonly eventTypes: readonly EventType[] = [
    'ftrace',
    'transition',
    'patch_state',
    'blocked',
    'oops',
    'poke',
    'int3',
    'task',
    'gap',
    'hole',
  ];
  readonly sites: SiteRewrite[] = [];
  readonly transitions: TransitionFacts[] = [];
  readonly oopses: Oops[] = [];
  readonly gaps: Gap[] = [];
  readonly holes: Hole[] = [];
  /** Poke steps of live text, and tasks carried over an int3 in between. */
  readonly text = { pokes: 0, int3: 0 };
  tasksCreated = 0;
  readonly #port: RecorderPort;
  /** The blocked of the transition under way, by pid and reason. */
  readonly #known = new Map<string, TaskBlocked>();

  constructor(port: RecorderPort) {
    this.#port = port;
  }

  /** The transition under way. */
  get current(): TransitionFacts | undefined {
    const last = this.transitions.at(-1);
    return last?.outcome === 'running' ? last : undefined;
  }

  record(event: KernelEvent): void {
    switch (event.type) {
      case 'ftrace':
        this.#site(event);
        break;
      case 'transition':
        this.#transition(event);
        break;
      case 'patch_state':
        this.#switch(event);
        break;
      case 'blocked':
        this.#blocked(event);
        break;
      case 'oops':
        this.oopses.push({ t: event.t, pid: event.pid, comm: event.comm, text: event.text });
        break;
      case 'gap':
        this.#gap(event);
        break;
      case 'hole':
        this.#hole(event);
        break;
      case 'poke':
        this.text.pokes++;
        break;
      case 'int3':
        this.text.int3++;
        break;
      case 'task':
        if (event.what === 'new') this.tasksCreated++;
        break;
    }
  }

  #site(event: KernelEvent & { type: 'ftrace' }): void {
    const { t, what, where, ip, trampoline, before, after } = event;
    const handler = this.#port.handlerOf(trampoline);
    this.sites.push({ t, what, where, ip, trampoline, before, after, ...(handler ? { handler } : {}) });
  }

  #gap({ t, pid, comm, func, version, patchState }: KernelEvent & { type: 'gap' }): void {
    this.gaps.push({ t, pid, comm, func, version, patchState });
  }

  #hole({ t, pid, comm, func, version, forced, patch, part }: KernelEvent & { type: 'hole' }): void {
    const why = { ...(forced === undefined ? {} : { forced }), ...(part === undefined ? {} : { part }) };
    this.holes.push({ t, pid, comm, func, version, patch, ...why });
  }

  #transition({ t, patch, what, target }: KernelEvent & { type: 'transition' }): void {
    const { current } = this;
    switch (what) {
      case 'starting':
        this.#known.clear();
        this.transitions.push({
          patch,
          target,
          startedAt: t,
          tasks: this.#port.countTasks(),
          outcome: 'running',
          forced: false,
          switches: [],
          born: 0,
          blocked: [],
        });
        break;
      case 'reversing':
        if (current) Object.assign(current, { outcome: 'reversed', endedAt: t });
        break;
      case 'forcing':
        if (current) current.forced = true;
        break;
      case 'canceling':
        if (current) Object.assign(current, { outcome: 'canceled', endedAt: t });
        break;
      case 'complete':
        if (current) Object.assign(current, { outcome: 'complete', endedAt: t });
        break;
    }
  }

  /** A child forked by a task that has yet to switch is not a switch; it will be one later. */
  #switch(event: KernelEvent & { type: 'patch_state' }): void {
    const { current } = this;
    if (!current || event.to !== current.target) return;
    const { t, pid, comm, to, way, sinceNs } = event;
    if (way === 'fork') current.born++;
    else current.switches.push({ t, pid, comm, to, way, sinceNs });
  }

  #blocked({ t, pid, comm, why, func, stack }: KernelEvent & { type: 'blocked' }): void {
    const list = this.current?.blocked;
    const key = `${pid} ${why}`;
    const known = this.#known.get(key);
    if (known) {
      known.lastT = t;
      known.times++;
      return;
    }
    const base = { pid, comm, why, stack, firstT: t, lastT: t, times: 1 };
    const one = func === undefined ? base : { ...base, func };
    this.#known.set(key, one);
    list?.push(one);
  }
}
