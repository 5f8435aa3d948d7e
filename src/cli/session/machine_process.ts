// A machine in a process of its own, as seen by the one that started it: asked one thing after the other, told at any
// time that a command is to end, and ended whatever it does.
//
// Invariant: every request is answered, by the reason when the process has died.

import { type ChildProcess, fork } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { UsageError } from '../exit.ts';
import type { ShellMachineOptions } from '../shell/options.ts';
import { programUrl } from '../worker_pool.ts';
import type { FromMachine, Reply, ToMachine, Work } from './machine_work.ts';

/** The machine's process ended, or could not begin. */
export class MachineDied extends Error {
  override readonly name = 'MachineDied';
  readonly code = 'EMACHINE';
}

/** How much is kept of what the process says to nobody. */
const LAST_WORDS = 2000;

const SIGNAL_TEXTS: Readonly<Record<string, string>> = {
  SIGKILL: 'by somebody, or because the memory of the computer was full',
  SIGABRT: 'it gave up itself',
  SIGSEGV: 'the engine went where it must not',
};

export class MachineProcess {
  readonly #child: ChildProcess;
  readonly #waiting = new Map<number, (reply: Reply) => void>();
  /** The last of the requests that wait for those before. */
  #last: Promise<unknown> = Promise.resolve();
  #id = 0;
  #serving = 0;
  #said = '';
  #debugger: { came(refused?: string): void; hears(bytes: string): void; left(): void } | undefined;
  #lastWords = '';
  /** Why there is no machine any more. */
  death: string | undefined;
  /** Of the machine when it was last heard of (virtual ns). */
  now = 0;

  /** Boots one. @throws UsageError, MachineDied */
  static async start(
    options: ShellMachineOptions,
  ): Promise<{ machine: MachineProcess; warnings: readonly string[] }> {
    const machine = new MachineProcess();
    return { machine, warnings: await machine.#boot(options) };
  }

  private constructor() {
    this.#child = fork(fileURLToPath(programUrl('session/machine_child.js')), {
      stdio: ['ignore', 'ignore', 'pipe', 'ipc'],
    });
    this.#child.stderr?.setEncoding('utf8').on('data', (text: string) => {
      this.#lastWords = (this.#lastWords + text).slice(-LAST_WORDS);
    });
    this.#child.on('message', (message: FromMachine) => {
      if ('died' in message) this.#said = message.died;
      else if ('id' in message) this.#answer(message.id, message.reply);
      else if ('debugged' in message) this.#debugger?.came(message.refused);
      else if ('answered' in message) this.#debugger?.hears(message.answered);
      else if ('left' in message) this.#debugger?.left();
    });
    this.#child.on('error', (error) => this.#died(error.message));
    // What it has said last comes before this, other than with `exit`.
    this.#child.on('close', (code, signal) => this.#died(this.#reason(code, signal)));
  }

  #boot(boot: ShellMachineOptions): Promise<readonly string[]> {
    return new Promise((resolve, reject) => {
      this.#child.on('message', (message: FromMachine) => {
        if ('booted' in message) {
          this.now = message.now;
          resolve(message.booted);
        } else if ('notBooted' in message) {
          reject(message.usage ? new UsageError(message.notBooted) : new MachineDied(message.notBooted));
          this.kill();
        }
      });
      this.#child.on('close', () => reject(new MachineDied(this.death)));
      this.#send({ boot });
    });
  }

  #send(message: ToMachine): void {
    if (this.#child.connected) this.#child.send(message, () => {});
  }

  /** Asks; what was asked before is answered before. @param wanted asked when its turn comes: whether it still is */
  ask(work: Work, wanted: () => boolean = () => true): Promise<Reply | undefined> {
    const turn = this.#last.then(() => (wanted() ? this.#ask(work) : undefined));
    this.#last = turn;
    return turn;
  }

  #ask(work: Work): Promise<Reply> {
    if (this.death !== undefined) return Promise.resolve(this.#dead());
    return new Promise((resolve) => {
      this.#id = (this.#id % 0x7fffffff) + 1;
      this.#serving = this.#id;
      this.#waiting.set(this.#id, resolve);
      this.#send({ id: this.#id, work });
    });
  }

  #answer(id: number, reply: Reply): void {
    this.now = reply.now ?? this.now;
    this.#serving = 0;
    this.#waiting.get(id)?.(reply);
    this.#waiting.delete(id);
  }

  /** Ends the command that runs now, as Ctrl-C does. */
  interrupt(): void {
    if (this.#serving !== 0) this.#send({ interrupt: this.#serving });
  }

  /** A debugger comes. @returns what it says from now on goes to that; why it cannot debug */
  async debug(
    hears: (bytes: string) => void,
    left: () => void,
  ): Promise<{ say(bytes: string): void; gone(): void } | string> {
    if (this.death !== undefined) return this.death;
    if (this.#debugger) return 'a debugger is at it already';
    const refused = await new Promise<string | undefined>((came) => {
      const end = (): void => {
        this.#debugger = undefined;
        left();
      };
      this.#debugger = { came, hears, left: end };
      this.#send({ debugger: 'comes' });
    });
    if (refused !== undefined) {
      this.#debugger = undefined;
      return refused;
    }
    return {
      say: (said) => this.#send({ said }),
      gone: () => this.#send({ debugger: 'is gone' }),
    };
  }

  /** Ends the machine, at once: it has nothing that could be kept. */
  kill(): void {
    this.death ??= 'the machine was ended';
    this.#child.kill('SIGKILL');
  }

  #reason(code: number | null, signal: NodeJS.Signals | null): string {
    const last = this.#lastWords.split('\n').findLast((line) => /\berror\b/i.test(line));
    const words = this.#said || last?.trim() || SIGNAL_TEXTS[signal ?? ''];
    const how = signal ? `was ended by ${signal}` : `ended with exit code ${code}`;
    return `the machine is gone: its process ${how}${words ? ` (${words})` : ''}`;
  }

  #died(reason: string): void {
    this.death ??= reason;
    for (const resolve of this.#waiting.values()) resolve(this.#dead());
    this.#waiting.clear();
    this.#debugger?.came(this.death);
    this.#debugger?.left();
  }

  #dead(): Reply {
    return { status: 1, stdout: '', stderr: '', failure: this.death as string };
  }
}
