// Random sequences of everything that can be done to a machine with livepatches, and what must hold after each
// step and at the end. A sequence is plain data, so that a failing one can be made smaller, printed and run again.
//
// What is wrong: an invariant (audit.ts), a warning or taint (complaints.ts), an operation that ends as it cannot
// (outcomes.ts), what is left behind; and the ground truth of the machine itself.

import type { KernelEvent } from '../../src/kernel/events.ts';
import type { Fault, FaultPoint } from '../../src/kernel/fault_inject.ts';
import type { TaskStruct } from '../../src/kernel/task_struct.ts';
import type { MachineOptions } from '../../src/machine/machine.ts';
import { checkInvariants, pictureOf } from './audit.ts';
import { Complaints } from './complaints.ts';
import { bundleBytes, type Kind, MODULE_FILES, moduleBytes, OPTIONS_OF } from './modules.ts';
import { outcomes, type Situation, situationOf, unloading } from './outcomes.ts';
import { Session, TARGET_PARAMETERS } from './session.ts';
import type { Action, Sequence, Step } from './steps.ts';

export { type Sequence, sequence } from './steps.ts';

const MS = 1e6;
const SECOND = 1e9;

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

/** A bundle's patch has a struct module of its own, which is on no list. */
const ABOUT_OWNERS = 'a patch whose module is gone';
/** Gives its shadow variables back in a callback, which the kernel does not call of a patch that is replaced. */
const HAS_SHADOWS = MODULE_FILES.patch_shadow;
const SHADOW = '__klp_shadow_get_or_alloc';

/** A task that a signal ended has this, or more, as its exit status. */
const SIGNALLED = 128;

class SequenceRun {
  readonly #s: Session;
  readonly #steps: readonly Step[];
  readonly #kind: Kind;
  readonly #complaints: Complaints;
  /** Of patches with system states, by name. */
  readonly #args = new Map<string, string>();
  /** Tasks of steps that may not have ended yet, and those that go on until they are killed. */
  #doers: TaskStruct[] = [];
  #spawned: TaskStruct[] = [];
  /** They do nothing at all. */
  #crowd: TaskStruct[] = [];
  #forced = false;
  /** A patch that has shadow variables was replaced: they are there until it comes again. */
  #leftShadows = false;
  /** It cannot come again. */
  #keepsShadows = false;
  readonly tally: Tally = {};

  constructor(session: Session, { steps, kind = 'plain' }: Sequence) {
    this.#s = session;
    this.#steps = steps;
    this.#kind = kind;
    this.#complaints = new Complaints(session.machine);
    this.#count(kind);
  }

  #count(name: string): void {
    this.tally[name] = (this.tally[name] ?? 0) + 1;
  }

  run(crowd: number): void {
    const { machine } = this.#s;
    machine.runFor(20 * MS);
    const start = pictureOf(machine);
    for (let i = 0; i < crowd; i++) this.#crowd.push(machine.spawn('sleep', ['100000000']));
    if (crowd > 0) this.#count('crowd');
    this.#listen();
    this.#steps.forEach((one, i) => {
      this.#do(one);
      this.#check(`step ${i} ${JSON.stringify(one)}`);
    });
    this.#windDown();
    this.#atEnd(start);
  }

  #listen(): void {
    this.#s.machine.events.subscribe(
      (event) => {
        if (event.type !== 'transition') this.#count(event.type);
        else if (event.what !== 'initializing' && event.what !== 'completing')
          this.#count(`transition ${event.what}`);
        if (event.type === 'transition') this.#noteTransition(event.what);
      },
      ['transition', 'fault', 'hole', 'gap', 'int3', 'blocked', 'klp_relocs', 'gate'],
    );
    this.#s.machine.events.subscribe((event) => event.type === 'call' && this.#noteCall(event), ['call']);
  }

  /** A task that has not switched gets the version of an older patch where that in transition has one, too: counted once a sequence. */
  #noteCall({ func, version, patchState }: Extract<KernelEvent, { type: 'call' }>): void {
    const { livepatch } = this.#s.machine.inspect;
    const { transitionPatch } = livepatch;
    if (
      !transitionPatch ||
      version === 'original' ||
      patchState !== this.#s.machine.inspect.core.kernel.constants.KLP_UNPATCHED
    )
      return;
    if (version.endsWith(`[${transitionPatch.name}]`)) return;
    const [name] = func.split(' ');
    const funcs = transitionPatch.objects().flatMap((object) => object.funcs());
    if (funcs.some(({ oldName }) => oldName === name)) this.tally['older version'] = 1;
  }

  #noteTransition(what: string): void {
    if (what === 'forcing') this.#forced = true;
    const { livepatch } = this.#s.machine.inspect;
    if (!livepatch.transitionPatch?.replace) return;
    if (livepatch.patches().some(({ name }) => name === HAS_SHADOWS)) this.#leftShadows = true;
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
        return this.#load(MODULE_FILES[one.module], one.args);
      case 'bundle':
        if (this.#kind !== 'bundle') return undefined;
        s.machine.addFile('/lib/x.klpb', bundleBytes(one.bundle, one.replace));
        return s.startEcho('/lib/x.klpb', '/sys/kernel/livepatch_bundle/enable');
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
        return s.startWrite(MODULE_FILES[one.patch], one.file, one.text);
      case 'block':
        return s.startEcho(one.on ? '1' : '0', `${TARGET_PARAMETERS}/block`);
      case 'read':
        return s.machine.spawn('cat', [one.path]);
    }
  }

  #load(name: string, args: string): TaskStruct | undefined {
    const bytes = moduleBytes(this.#kind, name);
    if (!bytes) return undefined;
    const path = `/lib/modules/${name}.ko`;
    this.#s.machine.addFile(path, bytes);
    return this.#s.machine.insmod(path, args);
  }

  #alive(task: TaskStruct): boolean {
    return this.#s.machine.exitStatus(task) === undefined;
  }

  #kill(task: TaskStruct, signal: number): TaskStruct {
    return this.#s.machine.spawn('kill', [String(this.#s.machine.inspect.users.pidOf(task)), String(signal)]);
  }

  #act(one: Action & { wait: boolean; fault?: { point: 'allocation' | FaultPoint; nth: number } }): void {
    const { machine } = this.#s;
    this.#doers = this.#doers.filter((task) => this.#alive(task) || this.#judge(one.do, task));
    const alone = this.#doers.length === 0;
    const situation = situationOf(machine, this.#args);
    let doer: TaskStruct | undefined;
    let fault: Fault | undefined;
    if (one.fault) {
      const { point, nth } = one.fault;
      const points: FaultPoint[] = point === 'allocation' ? ['kmalloc', 'module_alloc'] : [point];
      fault = machine.inspect.core.faults.arm({ point: points, nth, by: (task) => task === doer });
    }
    const unloaded = one.do === 'unload' ? [...situation.modules.keys()] : [];
    doer = this.#begin(one);
    if (!doer) {
      if (fault) machine.inspect.core.faults.disarm(fault);
      return;
    }
    if (one.do === 'load' && !situation.modules.has(MODULE_FILES[one.module]))
      this.#args.set(MODULE_FILES[one.module], one.args);
    if (one.wait) this.#s.ended(doer, PATIENCE);
    else machine.runFor(MS);
    if (this.#alive(doer)) {
      this.#doers.push(doer);
      return;
    }
    if (fault) machine.inspect.core.faults.disarm(fault);
    const undisturbed = alone && (fault?.injected.length ?? 0) === 0 && this.#kind !== 'bundle';
    const name = one.do === 'unload' ? unloaded[one.which % unloaded.length] : undefined;
    this.#judge(one.do, doer, undisturbed ? this.#possible(one, situation, name) : undefined);
  }

  /** @param name of what is unloaded */
  #possible(one: Action, now: Situation, name: string | undefined): ReadonlySet<number> | undefined {
    // References are given back by works, later.
    if (name !== undefined) return new Set([0, unloading(name, now)]);
    return outcomes(one, now);
  }

  /** Nobody kills what a step began. @returns false, for filters */
  #judge(what: string, task: TaskStruct, possible?: ReadonlySet<number>): false {
    const exit = this.#s.machine.exitStatus(task) ?? 0;
    this.#count(possible ? 'outcomes foreseen' : 'outcomes not foreseen');
    if (exit < SIGNALLED && (possible?.has(exit) ?? true)) return false;
    throw new SequenceError(what, [
      `${task} ends with ${exit}, not with ${[...(possible ?? ['less than 128'])].join(' or ')}`,
    ]);
  }

  #check(where: string): void {
    const wrong = checkInvariants(this.#s.machine).filter(
      (one) => this.#kind !== 'bundle' || one !== ABOUT_OWNERS,
    );
    wrong.push(...this.#complaints.all());
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
    for (const task of this.#doers) this.#judge('in the background', task);
    // It may have come in only now.
    this.#unblock();
    this.#settle();
    this.#check('after the steps');
    this.#mixed();
    this.#disableAll();
    // The newest first, which may use others.
    for (const mod of machine.inspect.modules.loader.modules.visible) this.#unload(mod.name);
    if (this.#leftShadows) this.#giveShadowsBack();
    for (const task of this.#crowd) machine.inspect.exit.sendSignal(task, 9);
    const { tasks } = machine.inspect.core;
    machine.runUntil(() => !this.#crowd.some((task) => tasks.byAddr(task.addr) === task), PATIENCE);
    machine.runFor(2 * SECOND);
    this.#check('at the end');
  }

  #disableAll(): void {
    const s = this.#s;
    for (const { name } of s.machine.inspect.livepatch.patches().reverse()) {
      const exit = s.wait(s.startWrite(name, 'enabled', '0'));
      if (exit !== 0) throw new SequenceError('at the end', [`${name} cannot be disabled: ${exit}`]);
      this.#settle();
      this.#check(`after disabling ${name}`);
    }
  }

  /** The patch that made them comes and goes once more: its callback gives back what those before it left. */
  #giveShadowsBack(): void {
    // A transition that was forced keeps its modules for ever.
    this.#keepsShadows = this.#s.machine.inspect.modules.find(HAS_SHADOWS) !== undefined;
    if (this.#keepsShadows) return;
    this.#count('shadows given back');
    const task = this.#load(HAS_SHADOWS, '');
    if (!task || this.#s.wait(task) !== 0) throw new SequenceError('at the end', [`no ${HAS_SHADOWS}`]);
    this.#settle();
    this.#disableAll();
    this.#unload(HAS_SHADOWS);
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
    const mod = () => s.machine.inspect.modules.find(name);
    s.machine.runUntil(() => (mod()?.refcount ?? 0) === 0, 10 * SECOND);
    // A member of a bundle goes with it.
    if (!mod()) return;
    const exit = s.wait(s.machine.rmmod(name));
    if (exit === 0 || (this.#forced && name !== 'klpdemo_target')) return;
    throw new SequenceError('at the end', [`${name} cannot be unloaded: ${exit}`]);
  }

  /** The target counts rounds, works and reads in which old and new met. */
  #mixed(): void {
    const { machine } = this.#s;
    const mayMix = this.#forced || machine.inspect.versions.gapCalls > 0;
    if (mayMix || !machine.inspect.modules.find('klpdemo_target')) return;
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
        : Object.keys(start).filter((key) => key !== 'heap');
    const wrong = keys.flatMap((key) => differences(key, start[key], end[key]));
    wrong.push(...differences('text', vmlinuxText(start), vmlinuxText(end)));
    const heap = Object.entries(end.heap as Record<string, number>);
    const others = heap.filter(
      ([owner]) =>
        !kept.some((name) => owner.includes(name)) && !(this.#keepsShadows && owner.startsWith(SHADOW)),
    );
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
  one: Sequence,
  observe?: (event: KernelEvent) => void,
  options: MachineOptions = {},
): Promise<Tally> {
  const { seed, cpus, instructionNs, kind = 'plain', tasksPerRelax, crowd = 0 } = one;
  const room = crowd > 0 ? { maxTasks: 64 + crowd } : {};
  const session = await Session.boot({ seed, cpus, instructionNs, ...room, ...OPTIONS_OF[kind], ...options });
  if (observe) session.machine.events.subscribe(observe);
  if (tasksPerRelax !== undefined)
    Object.assign(session.machine.inspect.livepatch.context.options, { tasksPerRelax });
  const run = new SequenceRun(session, one);
  try {
    run.run(crowd);
    return run.tally;
  } finally {
    session.machine.close();
  }
}
