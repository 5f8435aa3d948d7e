// A machine that goes on by itself, in virtual time that keeps pace with a clock, and does what is typed in between. It stops
// between any two instructions, of what is typed, too.
//
// Invariant: what the machine does is a function of what was typed and between which of its instructions. Where it stood
// still, for how long and how fast time passed changes nothing: its own time passes to certain moments (nextQuantum), what is waited for
// is looked at between slices alone, and what is typed begins between two slices.

import type { Machine } from '../../machine/machine.ts';
import type { Shell } from '../../shell/shell.ts';
import { messageOf } from '../session/reply.ts';
import { bootShell, type ShellMachineOptions } from '../shell/options.ts';
import { fromBytes, toBytes } from '../shell/text.ts';
import { isBehind, isSame, type Moment, nextQuantum, type Position, type Typed } from './history.ts';
import { LivePicture } from './live_picture.ts';
import { RiddenPast } from './ridden.ts';

/** For how long nobody else is heard, ms of the host's clock. */
const DEAF = 10;
/** Virtual ns in which something has to be executed that is stepped through. */
const STEP_WAIT = 10e9;

/** The machine is given up: what is under way on it ends. */
class Abandoned extends Error {
  override readonly name = 'Abandoned';
  readonly code = 'EABANDONED';
}

interface Rider {
  /** From time to time, and whenever it comes to stand still. */
  looked(): Promise<void>;
  said(line: string, result: { stdout: string; stderr: string; status: number; clear?: boolean }): void;
  /** To be told to whoever looks. */
  noted(text: string): void;
}

export class Ride {
  readonly shell: Shell;
  readonly machine: Machine;
  readonly picture: LivePicture;
  readonly history: Typed[] = [];
  failure: string | undefined;
  /** What is carried out. */
  doing: string | undefined;
  readonly #rider: Rider;
  /** Time passes by itself. */
  #isFree = false;
  /** Nothing is executed. */
  #isHeld = true;
  /** To be done, those first that are the past. */
  readonly #past: Typed[];
  readonly #lines: string[] = [];
  #moment: Moment | undefined;
  #toEvent = false;
  #stepsSince: number | undefined;
  #isAbandoned = false;
  #wake: () => void = () => {};
  #end = 0;
  #heard = performance.now();
  /** Virtual s that pass in one of the host's, since when which virtual time was. */
  #pace = { speed: 1, real: 0, virtual: 0 };
  #over: Promise<void> = Promise.resolve();

  /** @param past what is done again, up to a moment @throws UsageError */
  static async boot(
    options: ShellMachineOptions,
    rider: Rider,
    past: readonly Typed[] = [],
    moment?: Moment,
  ): Promise<{ ride: Ride; warnings: string[] }> {
    const warnings: string[] = [];
    let picture: LivePicture | undefined;
    let ride: Ride | undefined;
    const { shell } = await bootShell(options, {
      warn: (line) => warnings.push(line),
      booted: (machine) => {
        picture = new LivePicture(machine);
      },
      drive: () => (condition, ns) => (ride as Ride).#drive(condition, ns),
      past: new RiddenPast(options, () => ride as Ride),
    });
    ride = new Ride(shell, picture as LivePicture, rider, past, moment);
    return { ride, warnings };
  }

  private constructor(
    shell: Shell,
    picture: LivePicture,
    rider: Rider,
    past: readonly Typed[],
    moment: Moment | undefined,
  ) {
    this.shell = shell;
    this.machine = shell.context.guest.machine;
    this.picture = picture;
    this.#rider = rider;
    this.#past = [...past];
    this.#moment = moment;
    this.#end = nextQuantum(this.machine.now());
    const { executor } = this.machine.inspect;
    this.machine.events.subscribe(() => {
      if (!this.#toEvent) return;
      this.#toEvent = false;
      executor.stopAt = executor.instructions;
    }, ['transition', 'patch_state', 'blocked', 'poke', 'printk', 'task', 'module', 'ftrace']);
  }

  /** Goes on from here. */
  start(): void {
    this.#isFree = true;
    this.#isHeld = false;
    this.#setPace();
    this.#stopAtMoment();
    this.#over = this.#ride().catch((error) => {
      if (!(error instanceof Abandoned)) this.#failed(error);
    });
  }

  get position(): Position {
    return { instructions: this.machine.inspect.executor.instructions, now: this.machine.now() };
  }

  get mode(): 'playing' | 'paused' | 'command' | 'going back' {
    if (this.#moment) return 'going back';
    if (this.#isHeld) return 'paused';
    if (this.doing !== undefined) return 'command';
    return this.#isResting ? 'paused' : 'playing';
  }

  /** What was typed, and what of the past is to be typed again. */
  get typed(): readonly Typed[] {
    return [...this.history, ...this.#past];
  }

  get speed(): number {
    return this.#pace.speed;
  }

  set speed(speed: number) {
    this.#pace = { ...this.#pace, speed };
    this.#setPace();
    this.#wake();
  }

  #setPace(): void {
    Object.assign(this.#pace, { real: performance.now(), virtual: this.machine.now() });
  }

  play(): void {
    if (this.#moment) return;
    this.machine.inspect.executor.stopAt = Number.POSITIVE_INFINITY;
    this.#isFree = true;
    this.#goOn();
  }

  /** One that goes back stays where it is: the rest of its past is forgotten. */
  pause(): void {
    this.machine.inspect.executor.stopAt = Number.POSITIVE_INFINITY;
    this.#toEvent = false;
    this.#isFree = false;
    this.#isHeld = true;
    this.#moment = undefined;
    this.#past.length = 0;
    this.#leaveTime();
    this.#leaveTime = () => {};
    this.#wake();
  }

  /** @param instructions of all CPUs together */
  step(instructions: number): void {
    const { executor } = this.machine.inspect;
    this.pause();
    executor.stopAt = executor.instructions + instructions;
    this.#stepsSince = this.machine.now();
    this.#goOn();
  }

  /** To where the next thing happens that is told of. */
  next(): void {
    this.pause();
    this.#toEvent = true;
    this.#stepsSince = this.machine.now();
    this.#goOn();
  }

  interrupt(): void {
    this.shell.context.guest.interrupt.request();
    if (this.doing !== undefined) this.#goOn();
  }

  /** @returns false: something else is carried out */
  type(line: string): boolean {
    if (this.doing !== undefined || this.#moment) return false;
    this.#lines.push(line);
    this.#wake();
    return true;
  }

  #goOn(): void {
    this.#isHeld = false;
    this.#setPace();
    this.#wake();
  }

  async abandon(): Promise<void> {
    this.#isAbandoned = true;
    this.#wake();
    await this.#over;
    this.machine.close();
  }

  /** The machine's life between what is typed, which is a part of it. */
  async #ride(): Promise<void> {
    const { machine } = this;
    const { executor } = machine.inspect;
    for (;;) {
      const line = executor.rest ? undefined : this.#due();
      if (line !== undefined) await this.#do(line);
      else if (this.#isResting && this.#lines.length === 0)
        await this.#hold(() => this.#isResting && this.#lines.length === 0);
      else {
        if (!executor.rest) await this.#keepPace();
        await this.#look();
        if (this.#isResting && this.#lines.length === 0) continue;
        this.#stepOn();
      }
    }
  }

  #stepOn(): void {
    const { machine } = this;
    if (!machine.inspect.executor.rest && machine.now() >= this.#end)
      this.#end = nextQuantum(this.machine.now());
    try {
      machine.step(this.#end);
    } catch (error) {
      this.#failed(error);
    }
  }

  get #isResting(): boolean {
    return this.#isHeld || (!this.#isFree && this.#stepsSince === undefined);
  }

  /** What is to be done here. */
  #due(): string | undefined {
    const [next] = this.#past;
    if (!next) return this.#moment ? undefined : this.#lines.shift();
    const { position } = this;
    if (isBehind(position, next.at)) {
      this.pause();
      this.#rider.noted(
        'this past cannot be had again, it stands where it left it: are modules on the disk other ones than before?',
      );
      return undefined;
    }
    return isSame(position, next.at) ? this.#past.shift()?.line : undefined;
  }

  async #do(line: string): Promise<void> {
    const { shell } = this;
    const isNew = this.#moment === undefined;
    this.history.push({ line, at: this.position });
    this.doing = line;
    if (isNew) this.#goOn();
    try {
      const reply = await shell.execute(toBytes(line));
      if (!this.#moment || isNew) this.#say(line, reply);
    } catch (error) {
      if (error instanceof Abandoned) throw error;
      this.#failed(error);
    }
    shell.exited = undefined;
    this.doing = undefined;
    this.#end = nextQuantum(this.machine.now());
    if (!this.#isFree) this.#isHeld = true;
    this.#setPace();
  }

  #say(line: string, { stdout, stderr, status, clear }: Awaited<ReturnType<Shell['execute']>>): void {
    const said = { stdout: fromBytes(stdout), stderr: fromBytes(stderr), status };
    this.#rider.said(line, clear ? { ...said, clear } : said);
  }

  #failed(error: unknown): void {
    this.failure = messageOf(error);
    this.pause();
  }

  /** Machine.runUntil(), with stops. */
  async #drive(condition: () => boolean, ns: number): Promise<boolean> {
    const { machine } = this;
    const { executor } = machine.inspect;
    const end = machine.now() + ns;
    for (;;) {
      if (this.#isHeld) await this.#hold(() => this.#isHeld);
      await this.#look();
      if (this.#isHeld) continue;
      if (!executor.rest) {
        if (condition()) return true;
        if (machine.now() >= end) return condition();
      }
      if (!machine.step(end)) return condition();
    }
  }

  /** Stands still until it is told otherwise. */
  async #hold(holds: () => boolean): Promise<void> {
    this.#stepsSince = undefined;
    this.#toEvent = false;
    await this.#rider.looked();
    while (holds() && !this.#isAbandoned)
      await new Promise<void>((resolve) => {
        this.#wake = resolve;
      });
    this.#wake = () => {};
    if (this.#isAbandoned) throw new Abandoned();
  }

  /** Whether it has come to where it is to stop; and others are heard. */
  async #look(): Promise<void> {
    const { machine } = this;
    const { executor } = machine.inspect;
    if (this.#isAbandoned) throw new Abandoned();
    if (executor.instructions >= executor.stopAt) this.pause();
    const moment = this.#moment;
    if (moment && 'now' in moment && machine.now() >= moment.now) this.pause();
    const since = this.#stepsSince;
    if (since !== undefined && machine.now() >= since + STEP_WAIT) {
      this.pause();
      this.#rider.noted(`nothing like that in ${STEP_WAIT / 1e9} s of virtual time`);
    }
    if (performance.now() - this.#heard < DEAF) return;
    await this.#rider.looked();
    await new Promise(setImmediate);
    this.#heard = performance.now();
  }

  #leaveTime: () => void = () => {};

  /** By instructions, or where the CPU that executes comes to the time. */
  #stopAtMoment(): void {
    const { executor } = this.machine.inspect;
    const moment = this.#moment;
    if (!moment) return;
    if ('instructions' in moment) {
      executor.stopAt = moment.instructions;
      return;
    }
    const { instructionNs } = this.machine.options;
    const { onSteer, steersAlways } = executor;
    executor.steersAlways = true;
    executor.onSteer = (cpu) => {
      const done = onSteer(cpu);
      const left = Math.max(0, Math.ceil((moment.now - cpu.clock) / instructionNs));
      executor.stopAt = executor.instructions + left;
      return done;
    };
    this.#leaveTime = () => Object.assign(executor, { onSteer, steersAlways });
  }

  /** Time passes as fast as is wanted, or as it can. */
  async #keepPace(): Promise<void> {
    if (this.#moment || this.#stepsSince !== undefined) return;
    for (;;) {
      const { speed, real, virtual } = this.#pace;
      const due = virtual + (performance.now() - real) * 1e6 * speed;
      const ahead = (this.machine.now() - due) / 1e6 / speed;
      if (ahead <= 0 || this.#isResting || this.#lines.length > 0 || this.#isAbandoned) return;
      await this.#rider.looked();
      await this.#sleep(Math.min(ahead, 50));
    }
  }

  /** Ends early when something is asked for. */
  #sleep(ms: number): Promise<void> {
    return new Promise((resolve) => {
      const timer = setTimeout(resolve, ms);
      this.#wake = () => {
        clearTimeout(timer);
        resolve();
      };
    });
  }
}
