// What the shell does in the guest: it starts programs there and waits for them in virtual time.
// Reading and writing files is the work of user tasks, so that modes, errors and stacks are the kernel's own.
//
// Text here, as everywhere in the shell, is one character a byte.

import { latin1Bytes } from '../fs/context.ts';
import { CONSTANTS } from '../kernel/layout.ts';
import type { TaskStruct } from '../kernel/task_struct.ts';
import type { Machine } from '../machine/machine.ts';

/** How a program ended. */
export interface Ended {
  readonly pid: number;
  /** Of exit(); undefined when a signal ended it. */
  readonly code: number | undefined;
  readonly signal: number | undefined;
  readonly stdout: string;
}

/** A program that has not ended; it was killed. */
export class GuestTimeout extends Error {
  readonly code = 'ETIMEDOUT';
}

export interface RunOptions {
  /** Name of the task, as ps shows it. */
  readonly comm?: string;
  readonly stdin?: string;
}

/** Where a write failed. */
export interface FileError {
  readonly errno: number;
  readonly at: 'open' | 'write';
}

/** Virtual ns after which a command is given up. */
const TIME_LIMIT = 3600e9;
const SIGKILL = 9;
const O_APPEND = 0o2000;
/** The `write` program's exit code says by this that the open had succeeded. */
const WRITE_FAILED = 0x80;

export class Guest {
  readonly machine: Machine;

  constructor(machine: Machine) {
    this.machine = machine;
  }

  /**
   * Runs a program of the guest to its end. @param args words, without the program's name.
   * @throws GuestTimeout, GuestPanic
   */
  run(program: string, args: readonly string[], options: RunOptions = {}): Ended {
    const { machine } = this;
    const task = machine.spawn(program, args, { comm: options.comm ?? program });
    const pid = machine.users.pidOf(task);
    if (options.stdin !== undefined) machine.fs.terminal.type(pid, latin1Bytes(options.stdin));
    const ended = machine.runUntil(() => machine.users.waitStatus(task) !== undefined, TIME_LIMIT);
    const { stdout } = machine.fs.terminal.outputOf(pid);
    machine.fs.terminal.forget(pid);
    if (!ended) this.#giveUp(task, options.comm ?? program);
    const status = machine.users.waitStatus(task) as number;
    const signal = status & 0x7f;
    if (signal !== 0) return { pid, code: undefined, signal, stdout };
    return { pid, code: (status >> 8) & 0xff, signal: undefined, stdout };
  }

  #giveUp(task: TaskStruct, name: string): never {
    const { machine } = this;
    const stack = machine.stack(task).map((line) => `\n  ${line}`);
    machine.exit.sendSignal(task, SIGKILL);
    machine.runFor(1e9);
    throw new GuestTimeout(
      `${name} has not ended after ${TIME_LIMIT / 1e9} s of virtual time; it stood in${stack.join('')}`,
    );
  }

  /** The text of a file, or the errno of opening or reading it. @param comm who reads it. */
  read(path: string, comm: string): string | number {
    const ended = this.run('cat', [path], { comm });
    if (ended.code === 0) return ended.stdout;
    return ended.code ?? CONSTANTS.EINTR;
  }

  /** `> path` or `>> path`: undefined when all went well. @param comm who writes. */
  write(path: string, text: string, append: boolean, comm: string): FileError | undefined {
    const { O_WRONLY, O_CREAT, O_TRUNC } = CONSTANTS;
    const flags = O_WRONLY | O_CREAT | (append ? O_APPEND : O_TRUNC);
    const { code, signal } = this.run('write', [path, String(flags)], { comm, stdin: text });
    if (code === 0) return undefined;
    if (code === undefined)
      return { errno: signal === undefined ? CONSTANTS.EIO : CONSTANTS.EINTR, at: 'write' };
    return { errno: code & ~WRITE_FAILED, at: code & WRITE_FAILED ? 'write' : 'open' };
  }

  exists(path: string): boolean {
    // ENOENT for an empty path, which is not the root.
    return path !== '' && this.machine.fs.stat(path) !== undefined;
  }

  isDirectory(path: string): boolean {
    return this.machine.fs.stat(path)?.kind === 'directory';
  }
}
