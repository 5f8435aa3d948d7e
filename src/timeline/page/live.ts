// The program of the page beside a live machine: hears what happens, draws it, and asks what is typed.

import type { LiveMessage, LiveState } from '../live_format.ts';
import { LiveRun } from './live_run.ts';
import { Page } from './page.ts';
import { element } from './panel.ts';
import { Prompt } from './prompt.ts';

/** Between two pictures, ms; and how many times as long as the last one took. */
const OFTEN = 80;
const EASE = 3;
const KEYS = ', space play and pause, s step, e next event of the machine, b back to the moment, : prompt';

class Live {
  page: Page | undefined;
  state: LiveState | undefined;
  readonly #prompt: Prompt;
  #run: LiveRun | undefined;
  /** The run is another one than the page shows. */
  #isOther = false;
  #isDue = false;
  #pause = OFTEN;

  constructor() {
    const console = element('section', 'console');
    this.#prompt = new Prompt(console, ask, () => this.page?.view.moment ?? 0);
    document.body.append(console);
    document.addEventListener('keydown', (event) => this.#key(event));
    this.#prompt.focus();
  }

  hear(message: LiveMessage): void {
    if ('said' in message) this.#prompt.said(message.said);
    else if ('begin' in message) {
      this.#run = new LiveRun(message.begin);
      this.#isOther = true;
      this.#draw();
    } else if ('happened' in message) {
      this.#run?.happened(message.happened);
      this.#draw();
    } else {
      this.state = message.state;
      this.#prompt.state(message.state);
      this.#draw();
    }
  }

  lost(): void {
    this.#prompt.lost();
  }

  /** As often as it can be done without anybody having to wait for it. */
  #draw(): void {
    if (this.#isDue) return;
    this.#isDue = true;
    setTimeout(() => {
      this.#isDue = false;
      const began = performance.now();
      this.#show();
      this.#pause = Math.max(OFTEN, EASE * (performance.now() - began));
    }, this.#pause);
  }

  #show(): void {
    if (!this.#run) return;
    const run = this.#run.upTo(this.state?.now ?? 0, this.state?.failure);
    if (this.page) this.page.follow(run, this.#isOther);
    else {
      this.page = new Page([{ label: run.data.title, run }], {}, KEYS);
      this.page.follow(run, true);
      // What is typed stands below what is drawn, and is the last that the keyboard comes to.
      document.body.append(document.querySelector('.console') as HTMLElement);
      this.#prompt.focus();
    }
    this.#isOther = false;
  }

  readonly #keys: Readonly<Record<string, () => void>> = {
    ' ': () => this.#prompt.toggle(),
    s: () => void ask({ do: 'step', count: 1 }),
    e: () => void ask({ do: 'next' }),
    b: () => void ask({ do: 'back', to: { now: this.page?.view.moment ?? 0 } }),
    ':': () => this.#prompt.focus(),
  };

  #key(event: KeyboardEvent): void {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const { activeElement } = document;
    if (activeElement instanceof HTMLInputElement || activeElement instanceof HTMLSelectElement) return;
    // A button is pressed by it.
    if (event.key === ' ' && activeElement instanceof HTMLButtonElement) return;
    const act = this.#keys[event.key];
    if (!act) return;
    event.preventDefault();
    act();
  }
}

async function ask(asked: object): Promise<unknown> {
  const response = await fetch('ask', {
    method: 'POST',
    headers: { 'Content-Type': 'application/json' },
    body: JSON.stringify(asked),
  });
  return response.ok ? response.json() : {};
}

const live = new Live();
const stream = new EventSource('stream');
stream.addEventListener('message', ({ data }) => live.hear(JSON.parse(data) as LiveMessage));
stream.addEventListener('error', () => {
  stream.close();
  live.lost();
});
/** For programs that look at the page. */
Object.assign(globalThis, {
  klpemuLive: live,
  klpemuPage: {
    draw: () => live.page?.draw(),
    look: (view: Parameters<Page['look']>[0]) => live.page?.look(view),
    select: (t: number) => live.page?.select(t),
    get view() {
      return live.page?.view;
    },
  },
});
