// What a ride has done up to now, executed once more and looked at: the shell's `back` in the prompt of klpemu serve.

import { goBack } from '../../history/back.ts';
import { backText, backValue } from '../../history/back_text.ts';
import { Checkpoints } from '../../history/checkpoints.ts';
import type { BootProgram } from '../../history/driven_run.ts';
import { DebugError } from '../../history/error.ts';
import type { Machine } from '../../machine/machine.ts';
import { jsonValue } from '../../scenario/trace.ts';
import type { Past } from '../../shell/command.ts';
import { bootShell, type ShellMachineOptions } from '../shell/options.ts';
import { toBytes } from '../shell/text.ts';
import { isSame, nextQuantum, type Typed } from './history.ts';

type Answer = Awaited<ReturnType<Past['back']>>;

interface Ridden {
  readonly machine: Machine;
  /** What was typed; of what is under way, the last. */
  readonly history: readonly Typed[];
}

export class RiddenPast implements Past {
  readonly #options: ShellMachineOptions;
  readonly #ridden: () => Ridden;

  constructor(options: ShellMachineOptions, ridden: () => Ridden) {
    this.#options = options;
    this.#ridden = ridden;
  }

  async back(what: string, from: string | undefined, json: boolean): Promise<Answer> {
    const { machine, history } = this.#ridden();
    const checkpoints = new Checkpoints(this.#program(history.slice(0, -1)));
    try {
      const answer = await goBack(checkpoints, what, from ?? { machine });
      const text = json
        ? `${JSON.stringify(backValue(answer), jsonValue)}\n`
        : backText(answer, (position) => `back instruction ${position}`);
      return { text, found: answer.found !== undefined };
    } catch (error) {
      if (error instanceof DebugError) return { refused: error.message };
      throw error;
    } finally {
      checkpoints.close();
    }
  }

  #program(history: readonly Typed[]): BootProgram {
    return async (drive) => {
      const { shell } = await bootShell(this.#options, {
        warn: () => {},
        drive: () => drive,
        past: { back: async () => ({ refused: 'it is what is looked for' }) },
      });
      const { machine } = shell.context.guest;
      const { executor } = machine.inspect;
      const position = () => ({ instructions: executor.instructions, now: machine.now() });
      const pass = (stop: () => boolean) => drive(stop, nextQuantum(machine.now()) - machine.now());
      const run = async (): Promise<undefined> => {
        for (const { line, at } of history) {
          while (!(await pass(() => isSame(position(), at))));
          await shell.execute(toBytes(line));
          shell.exited = undefined;
        }
        for (;;) await pass(() => false);
      };
      return { machine, run };
    };
  }
}
