// Random sequences of everything that can be done to a machine with livepatches, and what must hold after each
// step and at the end. A sequence is plain data, so that a failing one can be made smaller, printed and run again.

import fc from 'fast-check';
import type { KernelEvent } from '../../src/kernel/events.ts';
import { FAULT_POINTS, type Fault, type FaultPoint } from '../../src/kernel/fault_inject.ts';
import type { TaskStruct } from '../../src/kernel/task_struct.ts';
import type { MachineOptions } from '../../src/machine/machine.ts';
import { checkInvariants, pictureOf } from './audit.ts';
import { Session, TARGET_PARAMETERS } from './session.ts';

const MS = 1e6;
const SECOND = 1e9;

const PATCHES = ['patch_target', 'patch_both', 'patch_vmlinux', 'patch_sympos'] as const;
type Patch = (typeof PATCHES)[number];

/** What a user task is started for. `which` counts those that there are at that moment. */
type Action =
  | { do: 'load'; module: Patch | 'target'; args: string }
  | { do: 'unload'; which: number }
  | { do: 'disable'; which: number }
  | { do: 'turn' | 'force' }
  | { do: 'write'; patch: Patch; file: 'enabled' | 'force'; text: string }
  | { do: 'block'; on: boolean }
  | { do: 'read'; path: string };

export type Step =
  | (Action & { wait: boolean; fault?: StepFault })
  | { do: 'spawn'; program: string; args: string[] }
  | { do: 'signal'; which: number; signal: number }
  | { do: 'pass'; ms: number };

interface StepFault {
  point: 'allocation' | FaultPoint;
  nth: number;
}

export interface Sequence {
  seed: number;
  cpus: number;
  instructionNs: number;
  steps: Step[];
}

const module = fc.constantFrom('target' as const, ...PATCHES);
const patch = fc.constantFrom(...PATCHES);

const fault: fc.Arbitrary<StepFault> = fc.oneof(
  fc.record({ point: fc.constant('allocation' as const), nth: fc.integer({ min: 1, max: 30 }) }),
  fc.record({
    point: fc.constantFrom(...FAULT_POINTS.filter((point) => !point.endsWith('alloc'))),
    nth: fc.integer({ min: 1, max: 3 }),
  }),
);

const ARGS: Record<Patch | 'target', readonly string[]> = {
  target: [
    'period_ms=20 hold_ms=10 work_ms=10 show_ms=10',
    'period_ms=50 hold_ms=200 show_ms=30',
    'period_ms=20 hold_ms=10 block=1',
    '',
  ],
  patch_both: ['', 'replace=1', 'pre_patch_ret=-19', 'replace=1'],
  patch_target: [''],
  patch_vmlinux: [''],
  patch_sympos: [''],
};
const load: fc.Arbitrary<Action> = module.chain((name) =>
  fc.constantFrom(...ARGS[name]).map((args) => ({ do: 'load', module: name, args })),
);

const PATHS = ['/proc/klpdemo', '/proc/cmdline', '/proc/meminfo', '/proc/modules'];
const PROGRAMS: readonly [string, ...string[]][] = [
  ['reader', '/proc/klpdemo', '0'],
  ['reader', '/proc/klpdemo', '15'],
  ['reader', '/proc/cmdline', '1'],
  ['reader', '/proc/meminfo', '5'],
  ['forker', '20'],
  ['sleep', '100000'],
  ['spin'],
  ['syscalls'],
  ['yield'],
];

const weighted = <T>(...of: [number, fc.Arbitrary<T>][]): fc.Arbitrary<T> =>
  fc.oneof(...of.map(([weight, arbitrary]) => ({ weight, arbitrary })));

const action = weighted<Action>(
  [8, load],
  [3, fc.nat(4).map((which) => ({ do: 'unload', which }))],
  [4, fc.nat(3).map((which) => ({ do: 'disable', which }))],
  [4, fc.constant({ do: 'turn' })],
  [1, fc.constant({ do: 'force' })],
  [
    1,
    fc
      .tuple(patch, fc.constantFrom('0', '1'))
      .map(([name, text]) => ({ do: 'write', patch: name, file: 'enabled', text })),
  ],
  [
    1,
    fc
      .tuple(patch, fc.constantFrom('0', '1', 'x'))
      .map(([name, text]) => ({ do: 'write', patch: name, file: 'force', text })),
  ],
  [2, fc.boolean().map((on) => ({ do: 'block', on }))],
  [2, fc.constantFrom(...PATHS).map((path) => ({ do: 'read', path }))],
);

const step = weighted<Step>(
  [
    19,
    fc
      .tuple(action, fc.boolean(), weighted<StepFault | undefined>([5, fc.constant(undefined)], [1, fault]))
      .map(([one, wait, failing]) => (failing ? { ...one, wait, fault: failing } : { ...one, wait })),
  ],
  [3, fc.constantFrom(...PROGRAMS).map(([program, ...args]) => ({ do: 'spawn', program, args }))],
  [
    2,
    fc.tuple(fc.nat(5), fc.constantFrom(9, 15)).map(([which, signal]) => ({ do: 'signal', which, signal })),
  ],
  [4, fc.constantFrom(1, 4, 10, 40, 200, 1100, 3000).map((ms) => ({ do: 'pass', ms }))],
);

export const sequence: fc.Arbitrary<Sequence> = fc.record({
  seed: fc.integer({ min: 1, max: 0x7fffffff }),
  cpus: fc.constantFrom(1, 2, 3),
  instructionNs: fc.constantFrom(20_000, 10_000, 4_000),
  steps: fc.array(step, { minLength: 1, maxLength: 14, size: 'max' }),
});

/** A sequence that broke a rule: what, after which step. */
export class SequenceError extends Error {
  constructor(where: string, wrong: readonly string[]) {
    super(`${where}: ${wrong.join('; ')}`);
    this.name = 'SequenceError';
  }
}

/** Tasks that run beside the steps at once. */
const MAX_SPAWNED = 6;
/** A step that is waited for goes on in the background after this. */
const PATIENCE = 20 * SECOND;

/** What happened in sequences, by name. */
export type Tally = Record<string, number>;

class SequenceRun {
  readonly #s: Session;
  readonly #steps: readonly Step[];
  /** Tasks of steps that may not have ended yet, and those that go on until they are killed. */
  #doers: TaskStruct[] = [];
  #spawned: TaskStruct[] = [];
  #forced = false;
  readonly tally: Tally = {};

  constructor(session: Session, steps: readonly Step[]) {
    this.#s = session;
    this.#steps = steps;
  }

  run(): void {
    const { machine } = this.#s;
    machine.runFor(20 * MS);
    const start = pictureOf(machine);
    this.#listen();
    this.#steps.forEach((one, i) => {
      this.#do(one);
      this.#check(`step ${i} ${JSON.stringify(one)}`);
    });
    this.#windDown();
    this.#atEnd(start);
  }

  #listen(): void {
    const count = (name: string): void => {
      this.tally[name] = (this.tally[name] ?? 0) + 1;
    };
    this.#s.machine.events.subscribe(
      (event) => {
        if (event.type !== 'transition') count(event.type);
        else if (event.what !== 'initializing' && event.what !== 'completing')
          count(`transition ${event.what}`);
        if (event.type === 'transition' && event.what === 'forcing') this.#forced = true;
      },
      ['transition', 'fault', 'hole', 'gap', 'int3', 'blocked'],
    );
  }

  #do(one: Step): void {
    const { machine } = this.#s;
    switch (one.do) {
      case 'spawn':
        this.#spawned = this.#spawned.filter((task) => this.#alive(task));
        if (this.#spawned.length < MAX_SPAWNED) this.#spawned.push(machine.spawn(one.program, one.args));
        break;
      case 'signal': {
        const task = this.#spawned.filter((t) => this.#alive(t))[one.which];
        if (task) this.#s.wait(this.#kill(task, one.signal));
        break;
      }
      case 'pass':
        machine.runFor(one.ms * MS);
        break;
      default:
        this.#act(one);
    }
  }

  /** Starts the task of an action; undefined where there is nothing to do it to. */
  #begin(one: Action): TaskStruct | undefined {
    const s = this.#s;
    const { livepatch, modules } = s.machine.inspect;
    switch (one.do) {
      case 'load':
        return s.startInsmod(one.module, one.args);
      case 'unload': {
        const all = modules.loader.modules.visible;
        return all.length === 0 ? undefined : s.machine.rmmod(all[one.which % all.length].name);
      }
      case 'disable': {
        const all = livepatch.patches();
        return all.length === 0 ? undefined : s.startWrite(all[one.which % all.length].name, 'enabled', '0');
      }
      case 'turn': {
        const turned = livepatch.transitionPatch;
        return turned && s.startWrite(turned.name, 'enabled', turned.enabled ? '0' : '1');
      }
      case 'force':
        return livepatch.transitionPatch && s.startWrite(livepatch.transitionPatch.name, 'force', '1');
      case 'write':
        return s.startWrite(`klpdemo_${one.patch}`, one.file, one.text);
      case 'block':
        return s.startEcho(one.on ? '1' : '0', `${TARGET_PARAMETERS}/block`);
      case 'read':
        return s.machine.spawn('cat', [one.path]);
    }
  }

  #alive(task: TaskStruct): boolean {
    return this.#s.machine.exitStatus(task) === undefined;
  }

  #kill(task: TaskStruct, signal: number): TaskStruct {
    return this.#s.machine.spawn('kill', [String(this.#s.machine.inspect.users.pidOf(task)), String(signal)]);
  }

  #act(one: Action & { wait: boolean; fault?: StepFault }): void {
    const { machine } = this.#s;
    let doer: TaskStruct | undefined;
    let fault: Fault | undefined;
    if (one.fault) {
      const { point, nth } = one.fault;
      const points: FaultPoint[] = point === 'allocation' ? ['kmalloc', 'module_alloc'] : [point];
      fault = machine.inspect.core.faults?.arm({ point: points, nth, by: (task) => task === doer });
    }
    doer = this.#begin(one);
    if (!doer) {
      if (fault) machine.inspect.core.faults?.disarm(fault);
      return;
    }
    if (one.wait) this.#s.ended(doer, PATIENCE);
    else machine.runFor(MS);
    if (this.#alive(doer)) this.#doers.push(doer);
    else if (fault) machine.inspect.core.faults?.disarm(fault);
  }

  #check(where: string): void {
    const wrong = checkInvariants(this.#s.machine);
    for (const oops of this.#s.oopses) if (oops.type === 'oops') wrong.push(oops.text);
    if (wrong.length > 0) throw new SequenceError(where, wrong);
  }

  /** Stops what runs, ends what was begun, takes out all patches and modules. */
  #windDown(): void {
    const s = this.#s;
    const { machine } = s;
    this.#unblock();
    for (const task of this.#spawned) if (this.#alive(task)) s.wait(this.#kill(task, 9));
    for (const task of [...this.#spawned, ...this.#doers]) {
      if (s.ended(task, 120 * SECOND) !== undefined) continue;
      throw new SequenceError('at the end', [`${task} does not end: ${machine.stack(task).join(' ')}`]);
    }
    // It may have come in only now.
    this.#unblock();
    this.#settle();
    this.#check('after the steps');
    this.#mixed();
    for (const { name } of machine.inspect.livepatch.patches().reverse()) {
      const exit = s.wait(s.startWrite(name, 'enabled', '0'));
      if (exit !== 0) throw new SequenceError('at the end', [`${name} cannot be disabled: ${exit}`]);
      this.#settle();
      this.#check(`after disabling ${name}`);
    }
    for (const mod of machine.inspect.modules.loader.modules.visible) this.#unload(mod.name);
    machine.runFor(2 * SECOND);
    this.#check('at the end');
  }

  #unblock(): void {
    if (!this.#s.machine.inspect.modules.find('klpdemo_target')) return;
    this.#s.ended(this.#s.startEcho('0', `${TARGET_PARAMETERS}/block`), PATIENCE);
  }

  #settle(): void {
    if (this.#s.settled()) return;
    const { machine } = this.#s;
    const left = [...machine.inspect.core.tasks.processes(), ...machine.inspect.core.tasks.idle]
      .filter((task) => task.testTif('TIF_PATCH_PENDING'))
      .map((task) => `${task} ${machine.stack(task).join(' ')}`);
    throw new SequenceError('at the end', ['the transition does not end', ...left]);
  }

  #unload(name: string): void {
    const s = this.#s;
    s.freed(name.replace('klpdemo_', ''));
    const exit = s.wait(s.machine.rmmod(name));
    if (exit === 0 || (this.#forced && name !== 'klpdemo_target')) return;
    throw new SequenceError('at the end', [`${name} cannot be unloaded: ${exit}`]);
  }

  /** The target counts rounds, works and reads in which old and new met. */
  #mixed(): void {
    const { machine } = this.#s;
    if (
      this.#forced ||
      machine.inspect.versions.gapCalls > 0 ||
      !machine.inspect.modules.find('klpdemo_target')
    )
      return;
    const text = this.#s.cat('/proc/klpdemo');
    if (!/^mixed 0$/m.test(text)) throw new SequenceError('at the end', [`/proc/klpdemo has ${text}`]);
  }

  #atEnd(start: Record<string, unknown>): void {
    const { machine } = this.#s;
    const end = pictureOf(machine);
    // The module of a forced patch stays, with what belongs to it.
    const kept = machine.inspect.modules.loader.modules.all.map(({ name }) => name);
    const keys =
      kept.length > 0
        ? ['ops', 'trampolines', 'patches', 'objects', 'transition', 'pending', 'mutexes']
        : Object.keys(start);
    const wrong = keys.flatMap((key) => differences(key, start[key], end[key]));
    wrong.push(...differences('text', vmlinuxText(start), vmlinuxText(end)));
    const heap = Object.entries(end.heap as Record<string, number>);
    const others = heap.filter(([owner]) => !kept.some((name) => owner.includes(name)));
    wrong.push(...differences('heap', start.heap, Object.fromEntries(others)));
    if (wrong.length > 0) throw new SequenceError('at the end, against the start', wrong);
  }
}

/** What no module that stays can account for. */
function vmlinuxText({ text }: Record<string, unknown>): unknown {
  return (text as Record<string, string>).vmlinux;
}

function differences(key: string, start: unknown, end: unknown): string[] {
  if (JSON.stringify(start) === JSON.stringify(end)) return [];
  if (typeof start !== 'object' || Array.isArray(start)) {
    return [`${key}: ${JSON.stringify(start)} before, ${JSON.stringify(end)} after`];
  }
  const before = start as Record<string, unknown>;
  const after = end as Record<string, unknown>;
  return [...new Set([...Object.keys(before), ...Object.keys(after)])]
    .filter((name) => before[name] !== after[name])
    .map((name) => `${key}: ${name}: ${before[name] ?? 0} before, ${after[name] ?? 0} after`);
}

/**
 * @param observe gets every event from the first step on
 * @throws SequenceError, or what the machine throws.
 */
export async function runSequence(
  { seed, cpus, instructionNs, steps }: Sequence,
  observe?: (event: KernelEvent) => void,
  options: MachineOptions = {},
): Promise<Tally> {
  const session = await Session.boot({ seed, cpus, instructionNs, ...options });
  if (observe) session.machine.events.subscribe(observe);
  const run = new SequenceRun(session, steps);
  try {
    run.run();
    return run.tally;
  } finally {
    session.machine.close();
  }
}
