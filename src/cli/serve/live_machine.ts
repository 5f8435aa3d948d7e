// The live machine of klpemu serve: the ride that is under way, what those who look hear of it, and what they ask of it.
//
// To go back is to ride again: a machine boots, and what was typed is typed again between the same instructions, up to the
// moment. What came behind it is forgotten: from there on it is another history.

import { insnAt, nameTarget } from '../../scenario/text.ts';
import { formatDuration } from '../../scenario/units.ts';
import { complete } from '../../shell/complete.ts';
import type { LiveMessage, LiveSaid, LiveState } from '../../timeline/live_format.ts';
import type { ShellMachineOptions } from '../shell/options.ts';
import { fromBytes, toBytes } from '../shell/text.ts';
import { isBefore, type Moment, type Typed } from './history.ts';
import { Ride } from './ride.ts';
import { type Control, controlOf, HELP } from './words.ts';

/** Between two looks at a machine that goes on, ms. */
const OFTEN = 40;
/** Events of one machine that are drawn: more is more than a page can hold. */
const MOST_EVENTS = 300_000;

export class LiveMachine {
  readonly #options: ShellMachineOptions;
  readonly #hear: (message: LiveMessage) => void;
  #ride: Ride | undefined;
  #speed = 1;
  #looked = 0;
  #isFull = false;
  /** Rides begin and end one after the other. */
  #turn: Promise<void> = Promise.resolve();

  constructor(options: ShellMachineOptions, hear: (message: LiveMessage) => void) {
    this.#options = options;
    this.#hear = hear;
  }

  /** @returns what depmod has to say of the modules @throws UsageError */
  async boot(): Promise<readonly string[]> {
    return this.#begin([]);
  }

  get failure(): string | undefined {
    return this.#ride?.failure;
  }

  async close(): Promise<void> {
    await this.#turn;
    await this.#ride?.abandon();
  }

  async #begin(past: readonly Typed[], moment?: Moment): Promise<readonly string[]> {
    let current: Ride | undefined;
    const rider = {
      looked: async () => {
        if (current) await this.#look(current);
      },
      said: (line: string, result: Omit<LiveSaid, 'line'>) => this.#hear({ said: { line, ...result } }),
      noted: (text: string) => this.#note(text),
    };
    const { ride, warnings } = await Ride.boot(this.#options, rider, past, moment);
    const { machine } = ride;
    const { tasks, cpus } = machine.inspect.core;
    const { seed, unwinder, model } = machine.options;
    this.#isFull = false;
    this.#hear({
      begin: {
        title: 'a live machine',
        machine: `${cpus} CPUs, seed ${seed}, unwinder ${unwinder}, model ${model}`,
        cpus,
        tasks: [...tasks.idle, ...tasks.processes()].map(({ pid, comm }) => ({ pid, comm })),
      },
    });
    ride.speed = this.#speed;
    this.#ride = ride;
    current = ride;
    ride.start();
    return warnings;
  }

  async #look(ride: Ride): Promise<void> {
    const isStill = ride.mode === 'paused';
    if (ride !== this.#ride || (!isStill && performance.now() - this.#looked < OFTEN)) return;
    this.#looked = performance.now();
    const happened = await ride.picture.take();
    if (happened) this.#hear({ happened });
    if (ride.picture.count > MOST_EVENTS && !this.#isFull) {
      this.#isFull = true;
      ride.pause();
      this.#note(`the picture has ${MOST_EVENTS} events: it stands still; play goes on all the same`);
    }
    this.#hear({ state: await this.#state(ride) });
  }

  async #state(ride: Ride): Promise<LiveState> {
    const { mode, position, speed, failure, machine } = ride;
    const { smp, core, executor } = machine.inspect;
    const cpus =
      mode !== 'paused'
        ? []
        : smp.cpus.map(async (cpu) => ({
            task: String(core.current(cpu.id)),
            at: nameTarget(machine, cpu.pc) ?? `0x${cpu.pc.toString(16)}`,
            insn: (await insnAt(machine, cpu.pc).catch(() => undefined))?.text ?? '',
            isNext: executor.rest !== undefined && smp.current === cpu,
          }));
    const base = { ...position, mode, speed, cpus: await Promise.all(cpus) };
    return failure === undefined ? base : { ...base, failure };
  }

  #note(text: string): void {
    this.#hear({ said: { stdout: '', stderr: `klpemu: ${text}\n`, status: 0 } });
  }

  /** A line of the prompt: a word of the page's own, or a command of the shell. */
  async type(line: string): Promise<void> {
    const ride = this.#ride;
    if (!ride || line.trim() === '') return;
    const control = controlOf(line);
    if (typeof control === 'string') {
      this.#hear({ said: { line, stdout: '', stderr: `klpemu: ${control}\n`, status: 2 } });
      return;
    }
    if (control) {
      this.#hear({ said: { line, stdout: '', stderr: '', status: 0 } });
      await this.control(control);
      return;
    }
    if (line.trim() === 'help') this.#hear({ said: { stdout: HELP, stderr: '', status: 0 } });
    if (ride.type(line)) return;
    const doing = ride.doing === undefined ? 'the machine goes back' : `'${ride.doing}' is under way`;
    this.#hear({
      said: { line, stdout: '', stderr: `klpemu: ${doing}: play, or Ctrl-C to end it\n`, status: 1 },
    });
  }

  async control(control: Control): Promise<void> {
    const ride = this.#ride;
    if (!ride) return;
    switch (control.do) {
      case 'play':
        ride.play();
        break;
      case 'pause':
        ride.pause();
        break;
      case 'step':
        ride.step(control.count);
        break;
      case 'next':
        ride.next();
        break;
      case 'interrupt':
        ride.interrupt();
        break;
      case 'speed':
        this.#speed = control.speed;
        ride.speed = control.speed;
        break;
      case 'back':
        await this.#back(control.to);
    }
    if (this.#ride) {
      this.#looked = 0;
      await this.#look(this.#ride);
    }
  }

  /** @param to undefined: before what was typed last */
  #back(to: Moment | undefined): Promise<void> {
    const turn = this.#turn.then(async () => {
      const ride = this.#ride;
      if (!ride) return;
      const typed = ride.typed;
      const last = typed.at(-1);
      const moment = to ?? (last && { now: last.at.now });
      if (!moment) {
        this.#note('nothing was typed yet: back TIME, back instruction N');
        return;
      }
      if (ride.mode !== 'going back' && isBefore(ride.position, moment)) {
        this.#note('that is no moment that is over');
        return;
      }
      const past = typed.filter(({ at }) => isBefore(at, moment));
      this.#ride = undefined;
      await ride.abandon();
      const forgotten = typed.length - past.length;
      const text = 'now' in moment ? formatDuration(moment.now) : `instruction ${moment.instructions}`;
      this.#note(`back to ${text}${forgotten > 0 ? `; ${forgotten} of what was typed is forgotten` : ''}`);
      await this.#begin(past, moment);
    });
    this.#turn = turn.catch(() => {});
    return turn;
  }

  /** Continuations of the last word of a line. */
  complete(line: string): { readonly words: readonly string[]; readonly word: string } {
    const shell = this.#ride?.shell;
    if (!shell) return { words: [], word: '' };
    const [words, word] = complete(shell.context, toBytes(line));
    return { words: words.map(fromBytes), word: fromBytes(word) };
  }
}
