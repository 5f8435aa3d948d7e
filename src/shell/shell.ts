// A shell on a machine: runs lines of the command language (parse.ts) with the commands of its table.
//
// Invariant: virtual time passes only inside commands; the same lines on the same machine give the same output.

import { KernelError } from '../kernel/errno.ts';
import { UAPI } from '../kernel/uapi.ts';
import type { Machine } from '../machine/machine.ts';
import { holeLine } from '../machine/truth/hole_text.ts';
import type { Past, ShellContext } from './command.ts';
import { commandTable, helpText } from './commands/index.ts';
import { errnoText } from './errno_text.ts';
import { Guest, GuestInterrupted, type GuestOptions, GuestTimeout } from './guest.ts';
import { instead } from './missing.ts';
import { ModuleStore } from './module_store.ts';
import {
  type Pipeline,
  parse,
  type Redirect,
  ShellSyntaxError,
  type SimpleCommand,
  type Step,
  wordText,
} from './parse.ts';
import { failed, Output, ok, type Result } from './result.ts';

/** Exit statuses of a shell. */
const NOT_FOUND = 127;
const SYNTAX = 2;
const TIMED_OUT = 124;
const INTERRUPTED = 130;
/** To these, in a shell, it is a word as any other. */
const PRINTS_HELP_AS_TEXT: ReadonlySet<string> = new Set(['echo', 'test', '[', 'true', 'false', ':']);
/** Events that are told with the command in whose time they come. */
const TOLD = ['note', 'hole'] as const;
/** What the shell calls itself in its own messages. */
const SELF = 'klpemu';

interface ShellOptions extends GuestOptions {
  readonly past?: Past;
  /** Module files to be put below /lib/modules/RELEASE; asked again by each depmod. */
  readonly modules?: () => Iterable<{ readonly name: string; readonly bytes: Uint8Array }>;
}

interface ExecuteOptions {
  /** Stops at the first failure that no `||` or `&&` looks at, as `sh -e`. */
  readonly errexit?: boolean;
  /** The text is a script: errors name its lines. */
  readonly script?: boolean;
  /** Called with what each step gave, as it comes. */
  readonly onResult?: (result: Result) => void;
}

export class Shell {
  readonly context: ShellContext;
  /** `$?` */
  status = 0;
  /** Set by `exit`: the shell is to end with it. */
  exited: number | undefined;

  constructor(machine: Machine, options: ShellOptions = {}) {
    const guest = new Guest(machine, options);
    this.context = {
      guest,
      modules: new ModuleStore(machine, options.modules),
      dmesgFrom: 0,
      self: `${SELF}: `,
      commands: commandTable(),
      past: options.past,
    };
  }

  /** Runs a text of one or more lines. */
  async execute(text: string, options: ExecuteOptions = {}): Promise<Result> {
    const output = new Output();
    const add = (result: Result): void => {
      output.add(result);
      options.onResult?.(result);
    };
    let steps: Step[] = [];
    try {
      steps = parse(text);
    } catch (error) {
      if (!(error instanceof ShellSyntaxError)) throw error;
      this.#prefix(options, error.line);
      this.status = SYNTAX;
      add(failed(`${this.context.self}${error.message}`, SYNTAX));
    }
    for (const [i, step] of steps.entries()) {
      if (step.when === 'success' && this.status !== 0) continue;
      if (step.when === 'failure' && this.status === 0) continue;
      this.#prefix(options, step.line);
      const result = await this.#pipeline(step.pipeline);
      add(result);
      this.status = result.status;
      const looked = steps[i + 1] !== undefined && steps[i + 1].when !== 'always';
      if (options.errexit && this.status !== 0 && !looked) this.exited ??= this.status;
      if (this.exited !== undefined || this.context.guest.interrupt.requested) break;
    }
    this.context.guest.interrupt.clear();
    return { ...output.result(), status: this.status };
  }

  #prefix({ script }: ExecuteOptions, line: number): void {
    this.context.self = script ? `${SELF}: line ${line}: ` : `${SELF}: `;
  }

  /**
   * Runs one command with its arguments as they are: nothing in them is special. It is as a process of its own: the working
   * directory is / to it, and what it makes of it ends with it.
   */
  async run(words: readonly string[], stdin?: string): Promise<Result> {
    const { guest } = this.context;
    const result = await guest.fromRoot(() => this.#guarded(words, () => this.#command(words, stdin)));
    this.context.guest.interrupt.clear();
    this.status = result.status;
    return result;
  }

  async #pipeline(pipeline: Pipeline): Promise<Result> {
    const output = new Output();
    let stdin: string | undefined;
    let status = 0;
    let clear: boolean | undefined;
    for (const [i, command] of pipeline.entries()) {
      const result = await this.#redirected(command, stdin);
      output.stderr += result.stderr;
      status = result.status;
      clear = result.clear;
      if (i < pipeline.length - 1) stdin = result.stdout;
      else output.stdout = result.stdout;
    }
    return { ...output.result(), status, ...(clear ? { clear } : {}) };
  }

  async #redirected(command: SimpleCommand, stdin: string | undefined): Promise<Result> {
    const words = command.words.map((word) => wordText(word, this.status));
    const { redirect, input } = command;
    return this.#guarded(words, async () => {
      const both = redirect !== undefined && input !== undefined;
      const early = both ? await this.#openBoth(words, redirect, input, command.inputFirst) : undefined;
      if (early) return early;
      let given = stdin;
      if (input) {
        const path = wordText(input, this.status);
        const text = await this.context.guest.read(path, words[0] ?? SELF);
        if (typeof text === 'number') return this.#cannotOpen(path, text);
        given = text;
      }
      return redirect ? this.#toFile(words, redirect, given, both) : this.#command(words, given);
    });
  }

  /** Opens both in their order, before anything is read: the second is not opened where the first cannot be. */
  async #openBoth(
    words: readonly string[],
    { target, append }: Redirect,
    input: SimpleCommand['words'][number],
    inputFirst: boolean,
  ): Promise<Result | undefined> {
    const { guest } = this.context;
    const name = words[0] ?? SELF;
    const [from, to] = [wordText(input, this.status), wordText(target, this.status)];
    const openInput = async (): Promise<Result | undefined> => {
      const errno = await guest.openForReading(from, name);
      return errno === undefined ? undefined : this.#cannotOpen(from, errno);
    };
    const openOutput = async (): Promise<Result | undefined> => {
      const error = await guest.write(to, '', append, name);
      return error && this.#cannotOpen(to, error.errno);
    };
    return inputFirst
      ? ((await openInput()) ?? (await openOutput()))
      : ((await openOutput()) ?? (await openInput()));
  }

  #cannotOpen(path: string, errno: number): Result {
    return failed(`${this.context.self}${path}: ${errnoText(errno)}`);
  }

  /** Runs one command, and tells with it what klpemu has to say of what came in its time. */
  async #guarded(words: readonly string[], work: () => Promise<Result>): Promise<Result> {
    const notes: string[] = [];
    const { events } = this.context.guest.machine.inspect.core;
    const unsubscribe = events.subscribe((event) => {
      if (event.type === 'note') notes.push(event.text);
      else if (event.type === 'hole') notes.push(`hole ${holeLine(event)}`);
    }, TOLD);
    try {
      return withNotes(await this.#ended(words, work), notes);
    } finally {
      unsubscribe();
    }
  }

  /** Runs one command; what ends it from outside becomes its result. */
  async #ended(words: readonly string[], work: () => Promise<Result>): Promise<Result> {
    const { guest, self } = this.context;
    guest.begin();
    try {
      return await work();
    } catch (error) {
      const who = words[0] === undefined ? self : `${words[0]}: `;
      if (error instanceof GuestInterrupted)
        return error.message === ''
          ? { ...ok(error.stdout), status: INTERRUPTED }
          : failed(`${who}${error.message}`, INTERRUPTED, error.stdout);
      if (error instanceof GuestTimeout) return failed(`${who}${error.message}`, TIMED_OUT, error.stdout);
      // No task could be started: the heap is full, or there are as many as there can be.
      if (error instanceof KernelError && error.errno === UAPI.EAGAIN && error !== guest.failure)
        return failed(`${self}fork: retry: ${errnoText(error.errno)}`, 254);
      throw error;
    }
  }

  /** The file is opened before the command runs, which does not run when that fails. @param isOpened it was opened before */
  async #toFile(
    words: readonly string[],
    redirect: Redirect,
    stdin: string | undefined,
    isOpened: boolean,
  ): Promise<Result> {
    const { guest, self } = this.context;
    const path = wordText(redirect.target, this.status);
    const name = words[0] ?? SELF;
    // echo has no other effect, so that its text can be written in the same open.
    const plain = !isOpened && (name === 'echo' || words.length === 0);
    if (!plain && !isOpened) {
      const early = await guest.write(path, '', redirect.append, name);
      if (early) return this.#cannotOpen(path, early.errno);
    }
    const result = words.length === 0 ? ok() : await this.#command(words, stdin);
    const text = result.stdout;
    if (!plain && text === '') return { ...result, stdout: '' };
    const error = await guest.write(path, text, redirect.append || !plain, name);
    if (!error) return { ...result, stdout: '' };
    if (error.at === 'open') return this.#cannotOpen(path, error.errno);
    const who = name === 'echo' ? `${self}echo` : name;
    return failed(`${who}: write error: ${errnoText(error.errno)}`, name === 'grep' ? 2 : 1);
  }

  async #command(words: readonly string[], stdin: string | undefined): Promise<Result> {
    const [name, ...args] = words;
    if (name === undefined) return ok();
    if (name === 'exit') return this.#exit(args);
    const { self, commands } = this.context;
    const command = commands.get(baseName(name));
    if (!command)
      return failed(`${self}${name}: command not found${instead(name, commands.keys())}`, NOT_FOUND);
    if (args.length === 1 && args[0] === '--help' && !PRINTS_HELP_AS_TEXT.has(command.name))
      return ok(helpText(command));
    return command.run({ args, stdin, shell: this.context });
  }

  #exit(args: readonly string[]): Result {
    const status = args.length === 0 ? this.status : Number(args[0]);
    if (!Number.isInteger(status)) {
      this.exited = SYNTAX;
      return failed(`${this.context.self}exit: ${args[0]}: numeric argument required`, SYNTAX);
    }
    this.exited = status & 0xff;
    return { status: this.exited, stdout: '', stderr: '' };
  }
}

/** What klpemu says beside the kernel's words, behind those of the command. */
function withNotes(result: Result, notes: readonly string[]): Result {
  if (notes.length === 0) return result;
  const gap = result.stderr === '' || result.stderr.endsWith('\n') ? '' : '\n';
  return { ...result, stderr: `${result.stderr}${gap}${notes.map((note) => `klpemu: ${note}\n`).join('')}` };
}

/** `/sbin/modprobe` is modprobe. */
function baseName(name: string): string {
  return /^(\/usr)?\/s?bin\//.test(name) ? name.slice(name.lastIndexOf('/') + 1) : name;
}
