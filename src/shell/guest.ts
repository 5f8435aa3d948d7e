// What the shell does in the guest: it starts programs there and waits for them in virtual time.
// Reading and writing files is the work of user tasks, so that modes, errors and stacks are the kernel's own.
//
// Text here, as everywhere in the shell, is one character a byte.

import { latin1Bytes } from '../fs/context.ts';
import type { TaskStruct } from '../kernel/task_struct.ts';
import { UAPI } from '../kernel/uapi.ts';
import type { Machine } from '../machine/machine.ts';
import { INSTRUCTION_LIMIT, Interrupt } from './interrupt.ts';

/** How a program ended. */
export interface Ended {
  readonly pid: number;
  /** Of exit(); undefined when a signal ended it. */
  readonly code: number | undefined;
  readonly signal: number | undefined;
  readonly stdout: string;
}

/** A command that was given up. */
abstract class GivenUp extends Error {
  abstract override readonly name: string;
  abstract readonly code: string;
  /** What its program had written by then. */
  readonly stdout: string;

  constructor(message: string, stdout = '') {
    super(message);
    this.stdout = stdout;
  }
}

/** It would not end. */
export class GuestTimeout extends GivenUp {
  override readonly name = 'GuestTimeout';
  readonly code = 'ETIMEDOUT';
}

/** Somebody wanted no more of it. The message is empty where nothing is left of it. */
export class GuestInterrupted extends GivenUp {
  override readonly name = 'GuestInterrupted';
  readonly code = 'EINTR';
}

/** Its time was over, as `timeout` has set it. */
export class GuestExpired extends GivenUp {
  override readonly name = 'GuestExpired';
  readonly code = 'ETIME';
}

interface RunOptions {
  /** Name of the task, as ps shows it. */
  readonly comm?: string;
  readonly stdin?: string;
}

/** Where a write failed. */
interface FileError {
  readonly errno: number;
  readonly at: 'open' | 'write';
}

/** Virtual ns after which a command is given up. */
const TIME_LIMIT = 3600e9;
/** In which a task that was sent a signal should be gone: virtual ns, and instructions. */
const GRACE_NS = 1e9;
const GRACE_INSTRUCTIONS = 500_000;
const O_APPEND = 0o2000;
/** The exit codes of `write` and `head` say by this that what failed came behind the open. */
const LATER_FAILED = 0x80;

/** Has the machine run as Machine.runUntil() does; nothing else happens on it until it is done. */
export type Drive = (condition: () => boolean, ns: number) => Promise<boolean>;

export interface GuestOptions {
  /** A debugger stops in between. */
  readonly drive?: Drive;
  readonly interrupt?: Interrupt;
  /** Of all CPUs, for one command. */
  readonly instructionLimit?: number;
}

/** Why the machine has stopped before what it was to run to. */
type Stopped = 'interrupted' | 'limit' | 'expired';

/** What ends a program then. */
const SIGNALS: Readonly<Record<Stopped, number>> = {
  interrupted: UAPI.SIGINT,
  expired: UAPI.SIGTERM,
  limit: UAPI.SIGKILL,
};

export class Guest {
  readonly machine: Machine;
  readonly interrupt: Interrupt;
  readonly instructionLimit: number;
  readonly #drive: Drive;
  /** What the machine has failed with: it cannot go on, but it can still be looked at. */
  failure: Error | undefined;
  #workingDirectory = '/';
  #previousDirectory: string | undefined;
  /** Instructions executed when the command began. */
  #from = 0;
  /** Virtual ns at which the command's time is over. */
  #deadline = Number.POSITIVE_INFINITY;

  constructor(machine: Machine, options: GuestOptions = {}) {
    this.machine = machine;
    this.interrupt = options.interrupt ?? new Interrupt();
    this.instructionLimit = options.instructionLimit ?? INSTRUCTION_LIMIT;
    this.#drive = options.drive ?? (async (condition, ns) => machine.runUntil(condition, ns));
  }

  /** A command begins: what it may execute is counted from here. */
  begin(): void {
    this.#from = this.machine.inspect.executor.instructions;
  }

  /**
   * Runs until a condition holds, virtual ns have passed, somebody wants no more or the command's limit is reached.
   * @throws GuestPanic, MachineError: from then on always that
   */
  runUntil(condition: () => boolean, ns: number): Promise<boolean> {
    return this.#guarded(async () => {
      const held = await this.#drive(() => condition() || this.stopped() !== undefined, ns);
      return held && condition();
    });
  }

  /** Why what was to be run to has not come. */
  stopped(): Stopped | undefined {
    if (this.interrupt.requested) return 'interrupted';
    if (this.machine.now() >= this.#deadline) return 'expired';
    const executed = this.machine.inspect.executor.instructions - this.#from;
    return executed >= this.instructionLimit ? 'limit' : undefined;
  }

  /** @throws GivenUp when the command is to go no further. */
  stopIfAsked(): void {
    const why = this.stopped();
    if (why === 'interrupted') throw new GuestInterrupted('');
    if (why === 'expired') throw new GuestExpired('');
    if (why === 'limit') throw new GuestTimeout(`given up after ${this.#limitText(why)}`);
  }

  /** @throws GuestExpired when it is not over in virtual ns */
  async within<T>(ns: number, work: () => Promise<T>): Promise<T> {
    const outer = this.#deadline;
    this.#deadline = Math.min(outer, this.machine.now() + ns);
    try {
      return await work();
    } finally {
      this.#deadline = outer;
    }
  }

  async #guarded<T>(run: () => Promise<T>): Promise<T> {
    if (this.failure) throw this.failure;
    try {
      return await run();
    } catch (error) {
      this.failure = error instanceof Error ? error : new Error(String(error));
      throw this.failure;
    }
  }

  /**
   * Runs a program of the guest to its end. @param args words, without the program's name.
   * @throws GivenUp, GuestPanic
   */
  async run(program: string, args: readonly string[], options: RunOptions = {}): Promise<Ended> {
    const { machine } = this;
    if (this.failure) throw this.failure;
    const task = machine.spawn(program, args, { comm: options.comm ?? program });
    const pid = machine.inspect.users.pidOf(task);
    const ended = (): boolean => machine.inspect.users.waitStatus(task) !== undefined;
    if (options.stdin !== undefined) machine.inspect.fs.terminal.type(pid, latin1Bytes(options.stdin));
    await this.runUntil(ended, Math.min(TIME_LIMIT, Math.max(0, this.#deadline - machine.now())));
    const { stdout } = machine.inspect.fs.terminal.outputOf(pid);
    machine.inspect.fs.terminal.forget(pid);
    if (!ended()) await this.#giveUp(task, ended, stdout);
    const status = machine.inspect.users.waitStatus(task) as number;
    const signal = status & 0x7f;
    if (signal !== 0) return { pid, code: undefined, signal, stdout };
    return { pid, code: (status >> 8) & 0xff, signal: undefined, stdout };
  }

  /** Ends a program by a signal, as a terminal does, and says what has become of it. */
  async #giveUp(task: TaskStruct, ended: () => boolean, stdout: string): Promise<never> {
    const { machine } = this;
    const why = this.stopped();
    const stack = machine.stack(task).map((line) => `\n  ${line}`);
    const signal = SIGNALS[why ?? 'limit'];
    await this.#guarded(async () => {
      machine.inspect.exit.sendSignal(task, signal);
      const until = machine.inspect.executor.instructions + GRACE_INSTRUCTIONS;
      await this.#drive(() => ended() || machine.inspect.executor.instructions >= until, GRACE_NS);
    });
    const stood = `it stood in${stack.join('')}`;
    const left = ended() ? '' : `pid ${task.pid} goes on in the kernel, where no signal reaches it; `;
    if (why === 'interrupted')
      throw new GuestInterrupted(left === '' ? '' : `interrupted, but ${left}${stood}`, stdout);
    if (why === 'expired')
      throw new GuestExpired(left === '' ? '' : `its time is over, but ${left}${stood}`, stdout);
    throw new GuestTimeout(`has not ended after ${this.#limitText(why)}; ${left}${stood}`, stdout);
  }

  #limitText(why: Stopped | undefined): string {
    if (why === 'limit')
      return `${this.instructionLimit.toLocaleString('en-US')} instructions (--limit sets how many)`;
    return `${TIME_LIMIT / 1e9} s of virtual time`;
  }

  /** Where paths that do not begin with / are taken from: absolute. */
  get workingDirectory(): string {
    return this.#workingDirectory;
  }

  /** Before the last change; undefined before the first. */
  get previousDirectory(): string | undefined {
    return this.#previousDirectory;
  }

  /** @param typed of a directory that exists */
  changeDirectory(typed: string): void {
    const parts: string[] = [];
    for (const part of this.path(typed).split('/')) {
      if (part === '..') parts.pop();
      else if (part !== '' && part !== '.') parts.push(part);
    }
    this.#previousDirectory = this.#workingDirectory;
    this.#workingDirectory = `/${parts.join('/')}`;
  }

  /** As a process does whose working directory is /: what it changes it to ends with it. */
  async fromRoot<T>(work: () => Promise<T>): Promise<T> {
    const [working, previous] = [this.#workingDirectory, this.#previousDirectory];
    this.#workingDirectory = '/';
    this.#previousDirectory = undefined;
    try {
      return await work();
    } finally {
      this.#workingDirectory = working;
      this.#previousDirectory = previous;
    }
  }

  /** A path as it was typed, from /. The empty one stays what it is: nothing has that name. */
  path(typed: string): string {
    if (typed === '' || typed.startsWith('/')) return typed;
    return `${this.workingDirectory === '/' ? '' : this.workingDirectory}/${typed}`;
  }

  /** The text of a file, or the errno of opening or reading it. @param comm who reads it. */
  async read(path: string, comm: string): Promise<string | number> {
    const ended = await this.run('cat', [this.path(path)], { comm });
    if (ended.code === 0) return ended.stdout;
    return ended.code ?? UAPI.EINTR;
  }

  /** What `head` reads of a file for its first lines, and whether it could go back behind them; or an errno. */
  async readHead(
    path: string,
    lines: number,
  ): Promise<{ readonly text: string; readonly seekErrno: number | undefined } | number> {
    const { code, stdout } = await this.run('head', [this.path(path), String(lines)]);
    if (code === 0) return { text: stdout, seekErrno: undefined };
    if (code === undefined) return UAPI.EINTR;
    return code & LATER_FAILED ? { text: stdout, seekErrno: code & ~LATER_FAILED } : code;
  }

  /** Opens a file and closes it. @returns the errno where that fails */
  async openForReading(path: string, comm: string): Promise<number | undefined> {
    const { code } = await this.run('write', [this.path(path), String(UAPI.O_RDONLY)], { comm, stdin: '' });
    return code === 0 ? undefined : (code ?? UAPI.EINTR);
  }

  /** `> path` or `>> path`: undefined when all went well. @param comm who writes. */
  async write(path: string, text: string, append: boolean, comm: string): Promise<FileError | undefined> {
    const { O_WRONLY, O_CREAT, O_TRUNC } = UAPI;
    const flags = O_WRONLY | O_CREAT | (append ? O_APPEND : O_TRUNC);
    const { code, signal } = await this.run('write', [this.path(path), String(flags)], { comm, stdin: text });
    if (code === 0) return undefined;
    if (code === undefined) return { errno: signal === undefined ? UAPI.EIO : UAPI.EINTR, at: 'write' };
    return { errno: code & ~LATER_FAILED, at: code & LATER_FAILED ? 'write' : 'open' };
  }

  exists(path: string): boolean {
    // ENOENT for an empty path, which is not the root.
    return path !== '' && this.machine.inspect.fs.stat(this.path(path)) !== undefined;
  }

  isDirectory(path: string): boolean {
    return this.machine.inspect.fs.stat(this.path(path))?.kind === 'directory';
  }
}
