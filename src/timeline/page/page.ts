// The page of a run: a picture over virtual time, and beside it what is known of the moment that is looked at.
//
// Invariant: what is shown is a function of the view: where it looks, at which moment, for what.

import type { PageFile } from '../page_format.ts';
import { type Drawn, Picture, type View } from './canvas.ts';
import { LANE_HEIGHT, type Lane, lanesOf } from './lanes.ts';
import { element, Panel } from './panel.ts';
import type { Run } from './run.ts';

/** A moment is not looked at closer than that, in ns. */
const LEAST_SPAN = 100;
const KEYS_SHORTLY =
  'Keys: \u2190 \u2192 move, + \u2212 zoom, \u2191 \u2193 scroll, n p next and previous event, 0 all of it, / search';
const KEY_OF_RUNS = ', m the next model';

type Beside = Pick<PageFile, 'table' | 'story'>;

export class Page {
  readonly #runs: readonly { readonly label: string; readonly run: Run }[];
  readonly #picture: Picture;
  readonly #panel: Panel;
  readonly #canvas: HTMLCanvasElement;
  readonly #search = element('input') as HTMLInputElement;
  readonly #said = element('div', 'said');
  readonly #tabs = element('p', 'tabs');
  readonly #view: View;
  /** Moments at which something happened, in order. */
  #events: readonly number[] = [];
  #lanes: readonly Lane[] = [];
  #run: Run;
  #isDue = false;

  /** @param runs the first is shown first @param keys that others heed */
  constructor(
    runs: readonly { readonly label: string; readonly run: Run }[],
    beside: Beside = {},
    keys = '',
  ) {
    this.#runs = runs;
    this.#run = runs[0].run;
    this.#view = { from: 0, to: this.#whole, top: 0, moment: 0 };
    this.#canvas = element('canvas', 'picture') as HTMLCanvasElement;
    const side = element('aside');
    document.body.append(this.#header(keys), this.#canvas, side);
    this.#picture = new Picture(this.#run, this.#canvas);
    this.#panel = new Panel(this.#run, side, (t) => this.select(t, true), beside);
    this.#listen();
    this.show(this.#run);
    this.select(this.#events.at(-1) ?? 0);
  }

  /** The span of all runs: several of them are looked at by the same time. */
  get #whole(): number {
    return Math.max(LEAST_SPAN, ...this.#runs.map(({ run }) => run.data.end), this.#run?.data.end ?? 0);
  }

  /** Looks at a run: at another one, or at the same when there is more of it. */
  show(run: Run): void {
    this.#run = run;
    this.#picture.run = run;
    this.#panel.run = run;
    this.#events = run.moments();
    this.#lanes = lanesOf(run, this.#search.value);
    this.#say();
    this.#panel.show(this.#view.moment, this.#search.value);
    this.#redraw();
  }

  /** Looks at what has become of a run that goes on. Who looked at its end, or at all of it, goes on doing so. @param isOther it is another run */
  follow(run: Run, isOther: boolean): void {
    const view = this.#view;
    const before = this.#run.data.end;
    const end = Math.max(LEAST_SPAN, run.data.end);
    if (isOther || (view.from === 0 && view.to >= before)) Object.assign(view, { from: 0, to: end });
    else if (view.to >= before) Object.assign(view, { from: view.from + end - view.to, to: end });
    if (isOther || view.moment >= before) view.moment = end;
    this.show(run);
  }

  #header(more: string): HTMLElement {
    const header = element('header');
    this.#search.type = 'search';
    this.#search.placeholder = 'task, or line of dmesg';
    this.#search.setAttribute('aria-label', 'search');
    for (const [i, { label, run }] of this.#runs.entries()) {
      if (this.#runs.length === 1) break;
      const tab = element('button', 'tab', label);
      tab.addEventListener('click', () => this.show(run));
      tab.dataset.run = String(i);
      this.#tabs.append(tab);
    }
    const keys = element('p', 'keys', KEYS_SHORTLY + (this.#runs.length > 1 ? KEY_OF_RUNS : '') + more);
    header.append(this.#said, this.#tabs, keys, this.#search);
    return header;
  }

  /** What is said of the run that is shown. */
  #say(): void {
    const { title, about, machine, outcome, ways } = this.#run.data;
    const said = element('p', outcome.ok ? 'outcome ok' : 'outcome failed', outcome.text);
    const legend = element('p', 'legend');
    const byWays = ways.map((way) => `${SIGNS[way] ?? '\u25a0'} ${way}`).join(', ') || 'nobody';
    legend.append(
      element('span', 'state patched', 'patched'),
      element('span', 'state unpatched', 'unpatched'),
      element('span', '', `switched by: ${byWays}`),
      element('span', '', '\u2715 could not switch'),
    );
    const lines = [element('h1', '', title), element('p', 'machine', machine), said];
    if (about.trim()) lines.push(element('p', 'about', about.trim()));
    this.#said.replaceChildren(...lines, legend);
    for (const tab of this.#tabs.children) {
      const isShown = this.#runs[Number((tab as HTMLElement).dataset.run)].run === this.#run;
      tab.setAttribute('aria-pressed', String(isShown));
    }
  }

  #listen(): void {
    const canvas = this.#canvas;
    canvas.tabIndex = 0;
    canvas.setAttribute('role', 'img');
    canvas.setAttribute('aria-label', 'CPUs, livepatches and tasks over virtual time');
    canvas.addEventListener('click', ({ offsetX }) => this.select(this.#picture.timeAt(offsetX, this.#view)));
    canvas.addEventListener('wheel', (event) => this.#wheel(event), { passive: false });
    this.#search.addEventListener('input', () => {
      this.#lanes = lanesOf(this.#run, this.#search.value);
      this.#move({ top: 0 });
      this.#panel.show(this.#view.moment, this.#search.value);
    });
    document.addEventListener('keydown', (event) => this.#key(event));
    addEventListener('resize', () => this.#redraw());
    // What is drawn has no style of its own that a printer's could take the place of.
    addEventListener('beforeprint', () => this.#printing(true));
    addEventListener('afterprint', () => this.#printing(false));
    matchMedia('(prefers-color-scheme: dark)').addEventListener('change', () => this.#redraw());
  }

  #printing(isOn: boolean): void {
    document.documentElement.toggleAttribute('data-printing', isOn);
    this.draw();
  }

  #wheel(event: WheelEvent): void {
    event.preventDefault();
    const { deltaX, deltaY, ctrlKey, shiftKey, offsetX } = event;
    if (ctrlKey) this.#zoom(deltaY > 0 ? 1.25 : 0.8, this.#picture.timeAt(offsetX, this.#view));
    else if (shiftKey || Math.abs(deltaX) > Math.abs(deltaY)) this.#pan((deltaX || deltaY) / 800);
    else this.#move({ top: this.#view.top + deltaY });
  }

  readonly #keys: Readonly<Record<string, () => void>> = {
    ArrowLeft: () => this.#pan(-0.1),
    ArrowRight: () => this.#pan(0.1),
    ArrowUp: () => this.#move({ top: this.#view.top - 3 * LANE_HEIGHT }),
    ArrowDown: () => this.#move({ top: this.#view.top + 3 * LANE_HEIGHT }),
    '+': () => this.#zoom(0.5, this.#view.moment),
    '=': () => this.#zoom(0.5, this.#view.moment),
    '-': () => this.#zoom(2, this.#view.moment),
    '0': () => this.#move({ from: 0, to: this.#whole }),
    n: () => this.#step(1),
    p: () => this.#step(-1),
    '/': () => this.#search.focus(),
    m: () => this.#nextRun(),
  };

  #key(event: KeyboardEvent): void {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const { activeElement } = document;
    if (activeElement === this.#search && (event.key === 'Escape' || event.key === 'Enter'))
      this.#canvas.focus();
    if (activeElement instanceof HTMLInputElement) return;
    const act = this.#keys[event.key];
    if (!act) return;
    event.preventDefault();
    act();
  }

  #nextRun(): void {
    const at = this.#runs.findIndex(({ run }) => run === this.#run);
    this.show((this.#runs[at + 1] ?? this.#runs[0]).run);
  }

  #pan(part: number): void {
    const { from, to } = this.#view;
    const by = Math.round(part * (to - from));
    const within = Math.max(-from, Math.min(by, Math.max(0, this.#whole - to)));
    this.#move({ from: from + within, to: to + within });
  }

  #zoom(factor: number, around: number): void {
    const { from, to } = this.#view;
    const middle = around >= from && around <= to ? around : (from + to) / 2;
    const span = Math.max(LEAST_SPAN, Math.min((to - from) * factor, this.#whole));
    const start = Math.max(0, Math.round(middle - ((middle - from) / (to - from)) * span));
    this.#move({ from: start, to: start + Math.round(span) });
  }

  /** To the next moment at which something happened, or the one before. */
  #step(by: 1 | -1): void {
    const { moment } = this.#view;
    const next = by > 0 ? this.#events.find((t) => t > moment) : this.#events.findLast((t) => t < moment);
    if (next !== undefined) this.select(next, true);
  }

  /** Looks at a moment. @param bring into view, too */
  select(t: number, bring = false): void {
    const { from, to } = this.#view;
    this.#view.moment = Math.max(0, Math.min(t, this.#whole));
    if (bring && (t < from || t > to)) {
      const start = Math.max(0, Math.round(t - (to - from) / 2));
      Object.assign(this.#view, { from: start, to: start + (to - from) });
    }
    this.#panel.show(this.#view.moment, this.#search.value);
    this.#redraw();
  }

  /** Looks at a part of the run. */
  #move(change: Partial<View>): void {
    Object.assign(this.#view, change);
    const most = Math.max(0, this.#lanes.length * LANE_HEIGHT - this.#picture.room);
    this.#view.top = Math.max(0, Math.min(this.#view.top, most));
    this.#redraw();
  }

  /** Once a frame, however much has changed. */
  #redraw(): void {
    if (this.#isDue) return;
    this.#isDue = true;
    requestAnimationFrame(() => {
      this.#isDue = false;
      this.draw();
    });
  }

  /** @returns how many rows of the run are in it */
  draw(): Drawn {
    this.#picture.draw(this.#lanes, this.#view);
    return this.#picture.drawn;
  }

  look(change: Partial<View>): Drawn {
    this.#move(change);
    return this.draw();
  }

  get view(): Readonly<View> {
    return this.#view;
  }
}

const SIGNS: Readonly<Record<string, string>> = {
  'stack check': '\u25a0',
  'kernel exit': '\u25b6',
  'idle loop': '\u25b2',
  fork: '\u25c6',
  force: '\u271a',
};
