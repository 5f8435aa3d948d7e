// What a shell has had its machine do since the boot, so that it can be executed again: to go back in it.
//
// Invariant: the same options and the same things done, in their order, are the same history. What is not the same any more
// (a module's file on the disk, a machine that a debugger has written to) is refused, with its reason.

import { statSync } from 'node:fs';
import { goBack, type Past as History } from '../../history/back.ts';
import { backText, backValue } from '../../history/back_text.ts';
import { Checkpoints } from '../../history/checkpoints.ts';
import type { BootProgram } from '../../history/driven_run.ts';
import { DebugError } from '../../history/error.ts';
import { OWN_NS, type OwnTime } from '../../history/live_machine.ts';
import type { Machine } from '../../machine/machine.ts';
import { jsonValue } from '../../scenario/trace.ts';
import type { Past } from '../../shell/command.ts';
import type { Drive } from '../../shell/guest.ts';
import { Interrupt } from '../../shell/interrupt.ts';
import type { Shell } from '../../shell/shell.ts';

/** Something that was done. */
type Done =
  | {
      readonly work: (shell: Shell) => Promise<unknown>;
      /** Instructions executed when somebody wanted no more of it. */
      interruptedAt: number | undefined;
    }
  | { readonly own: OwnTime };

type Answer = Awaited<ReturnType<Past['back']>>;

/** What a shell takes that is executed again. */
interface Again {
  readonly drive: Drive;
  readonly interrupted: () => boolean;
  readonly past: Past;
  readonly checkFile: (path: string) => void;
}

export class ShellPast implements Past {
  readonly #boot: (again: Again) => Promise<Shell>;
  readonly #done: Done[] = [];
  /** Files that were read: what they were. */
  readonly #files = new Map<string, string>();
  readonly #answers: Answer[] = [];
  #machine: Machine | undefined;
  /** Something that is kept is under way. */
  #isKept = false;
  /** Instructions executed when the last of it was over. */
  #end: number | undefined;
  /** Why it cannot be executed again. */
  broken: string | undefined;

  /** @param boot the same machine, and the same shell on it */
  constructor(boot: (again: Again) => Promise<Shell>) {
    this.#boot = boot;
  }

  /** Of the machine, when it is there. */
  begin(machine: Machine): void {
    this.#machine = machine;
    this.#end = this.#position;
  }

  /** Does something, which is kept. */
  async perform<T>(shell: Shell, work: (shell: Shell) => Promise<T>): Promise<T> {
    this.#goesOn();
    this.#done.push({ work, interruptedAt: undefined });
    this.#isKept = true;
    try {
      return await work(shell);
    } finally {
      this.#isKept = false;
      this.#end = this.#position;
    }
  }

  get #position(): number | undefined {
    return this.#machine?.inspect.executor.instructions;
  }
  /** Nothing was executed beside what is kept. */
  #goesOn(): void {
    const last = this.#done.at(-1);
    const end = last && 'own' in last ? last.own.until : this.#end;
    if (end !== this.#position) this.broken ??= NOT_KEPT;
  }

  passes(own: OwnTime): void {
    if (!this.#isKept) this.#goesOn();
    this.#done.push({ own });
  }

  changed(): void {
    const at = this.#position;
    this.broken ??= `since instruction ${at} it is another history: a debugger has written to the machine`;
  }

  /** A file of this computer is read. */
  read(path: string): void {
    const [known, stamp] = [this.#files.get(path), stampOf(path)];
    if (known !== undefined && known !== stamp) this.broken ??= `${path} was another before: ${NOT_AGAIN}`;
    this.#files.set(path, stamp);
  }

  /** Notes when somebody wanted no more of what is done. */
  interrupt(asked: () => boolean): Interrupt {
    return new Interrupt(() => {
      const isAsked = asked();
      const last = this.#done.at(-1);
      if (isAsked && last && 'work' in last) last.interruptedAt ??= this.#position;
      return isAsked;
    });
  }

  /** All of it once more. @throws DebugError for a file that is another now */
  readonly program: BootProgram = async (drive) => {
    const todo = [...this.#done];
    let doing: Done | undefined;
    let machine: Machine | undefined;
    let answers = 0;
    const shell = await this.#boot({
      drive,
      interrupted: () => {
        const at = doing && 'work' in doing ? doing.interruptedAt : undefined;
        return at !== undefined && (machine?.inspect.executor.instructions ?? 0) >= at;
      },
      // Nothing of the machine changes by it: what it said then is known.
      past: { back: async () => this.#answers[answers++] ?? { refused: 'not known' } },
      checkFile: (path) => this.#check(path),
    });
    machine = shell.context.guest.machine;
    const { executor } = machine.inspect;
    const run = async (): Promise<undefined> => {
      for (doing of todo) {
        if ('work' in doing) await doing.work(shell);
        else {
          const { own } = doing;
          await drive(() => own.until !== undefined && executor.instructions >= own.until, OWN_NS);
        }
      }
    };
    return { machine, run };
  };

  #check(path: string): void {
    if (this.#files.get(path) !== stampOf(path))
      throw new DebugError(`${path} is another than it was: ${NOT_AGAIN}`);
  }

  async back(what: string, from: string | undefined, json: boolean): Promise<Answer> {
    const answer = await this.#back(what, from, json);
    this.#answers.push(answer);
    return answer;
  }

  async #back(what: string, from: string | undefined, json: boolean): Promise<Answer> {
    if (!this.#isKept) return { refused: NOT_KEPT };
    if (this.broken !== undefined) return { refused: this.broken };
    const history = new Checkpoints(this.program);
    try {
      return await this.#asked(history, what, from, json);
    } catch (error) {
      if (error instanceof DebugError) return { refused: error.message };
      throw error;
    } finally {
      history.close();
    }
  }

  async #asked(history: History, what: string, from: string | undefined, json: boolean): Promise<Answer> {
    const answer = await goBack(history, what, from ?? { machine: this.#machine as Machine });
    const text = json
      ? `${JSON.stringify(backValue(answer), jsonValue)}\n`
      : backText(answer, (position) => `instruction ${position}`);
    return { text, found: answer.found !== undefined };
  }
}

const NOT_KEPT = 'what was done with this machine was not kept';
const NOT_AGAIN = 'what was done cannot be executed again';

/** What tells a file from another that is there later. */
function stampOf(path: string): string {
  const stat = statSync(path, { throwIfNoEntry: false });
  return stat ? `${stat.size} ${stat.mtimeMs} ${stat.ino}` : 'none';
}
