// How many tasks have switched, as a bar at the bottom of a terminal while a transition is under way.

import type { RunObserver } from '../../scenario/run_options.ts';
import type { World } from '../../scenario/world.ts';
import { visible } from '../terminal.ts';

interface Bar {
  start(total: number, value: number, payload: object): void;
  update(value: number, payload?: object): void;
  stop(): void;
}

/** A transition must last this long of real time before a bar is worth it. */
const PATIENCE_MS = 150;

export class Progress implements RunObserver {
  #world: World | undefined;
  #bar: Bar | undefined;
  #make: (() => Bar) | undefined;
  #patch = '';
  #since = 0;
  #shown = false;

  /** @returns undefined where there is no terminal. */
  static async on(stream: NodeJS.WriteStream): Promise<Progress | undefined> {
    if (!stream.isTTY) return undefined;
    const { default: cliProgress } = await import('cli-progress');
    const progress = new Progress();
    const format = '  {patch} [{bar}] {value}/{total} tasks switched';
    const options = { format, stream, clearOnComplete: true, hideCursor: true, linewrap: true };
    progress.#make = () => new cliProgress.SingleBar(options, cliProgress.Presets.legacy);
    return progress;
  }

  booted(world: World): void {
    this.#world = world;
  }

  flush(): void {
    const { facts } = this.#world ?? {};
    const current = facts?.current;
    if (!current || !this.#world) {
      this.hide();
      return;
    }
    if (this.#patch !== current.patch) {
      this.hide();
      this.#patch = current.patch;
      this.#since = Date.now();
    }
    if (!this.#shown && Date.now() - this.#since < PATIENCE_MS) return;
    const pending = this.#world.pendingCount();
    const total = Math.max(current.tasks, pending);
    if (!this.#shown) {
      this.#bar = this.#make?.();
      this.#bar?.start(total, total - pending, { patch: visible(current.patch) });
      this.#shown = true;
    } else this.#bar?.update(total - pending);
  }

  /** Takes the bar away so that a line can be printed; the next flush() brings it back. */
  hide(): void {
    if (this.#shown) this.#bar?.stop();
    this.#shown = false;
  }
}
