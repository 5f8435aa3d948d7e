// What is known of the moment that is looked at: tasks with their stacks, fentry sites, the log.
//
// Invariant: text of the run becomes text of elements, never markup.

import { timeText } from './canvas.ts';
import { countUpTo, type Run } from './run.ts';

/** Rows that are made at once: who wants others looks for them. */
const MOST = 200;
const STATES: Readonly<Record<number, string>> = { 0: 'unpatched', 1: 'patched' };

export function element(tag: string, className = '', text = ''): HTMLElement {
  const made = document.createElement(tag);
  if (className) made.className = className;
  if (text) made.textContent = text;
  return made;
}

export class Panel {
  readonly #run: Run;
  readonly #moment = element('h2', 'moment');
  readonly #tasks = element('div', 'tasks');
  readonly #sites = element('div', 'sites');
  readonly #log = element('div', 'log');

  /** @param select called with a moment that somebody chose here */
  constructor(run: Run, into: HTMLElement, select: (t: number) => void) {
    this.#run = run;
    this.#moment.setAttribute('aria-live', 'polite');
    into.append(
      this.#moment,
      section('Tasks', this.#tasks),
      section('Fentry sites', this.#sites),
      section('dmesg', this.#log),
    );
    this.#log.addEventListener('click', (event) => {
      const t = (event.target as HTMLElement).dataset.t;
      if (t !== undefined) select(Number(t));
    });
  }

  /** @param wanted part of the names of tasks, and of lines of the log */
  show(t: number, wanted: string): void {
    this.#moment.textContent = `At ${timeText(t)}`;
    this.#showTasks(t, wanted);
    this.#showSites(t);
    this.#showLog(t, wanted);
  }

  #showTasks(t: number, wanted: string): void {
    const run = this.#run;
    const tasks = run.data.tasks.map((_, task) => task);
    const there = tasks.filter(
      (task) => run.data.tasks[task].pid !== 0 && run.livesAt(task, t) && run.nameOf(task).includes(wanted),
    );
    const rows = there.slice(0, MOST).map((task) => this.#task(task, t));
    if (there.length > MOST)
      rows.push(element('p', 'more', `${there.length - MOST} more: look for their names`));
    this.#tasks.replaceChildren(...rows);
  }

  #task(task: number, t: number): HTMLElement {
    const run = this.#run;
    const row = element('details', 'task') as HTMLDetailsElement;
    row.open = true;
    row.dataset.pid = String(run.data.tasks[task].pid);
    const [cpu, state] = [run.cpuAt(task, t), run.stateAt(task, t)];
    const head = element('summary', '', run.nameOf(task));
    if (state !== undefined)
      head.append(element('span', `state ${STATES[state] ?? ''}`, STATES[state] ?? String(state)));
    row.append(head);
    const stack = cpu === undefined ? run.stackAt(task, t) : undefined;
    if (cpu !== undefined) row.append(element('p', 'running', `is executed on CPU ${cpu}`));
    else if (stack) row.append(element('pre', 'stack', stack.join('\n')));
    else row.append(element('p', 'running', 'nobody looked where it stands'));
    const blocked = this.#blockedAt(task, t);
    if (blocked) row.append(element('p', 'blocked', blocked));
    return row;
  }

  /** Why it could not switch when it was looked at last; empty where it has switched since, or could. */
  #blockedAt(task: number, t: number): string {
    const { blocked, transitions } = this.#run.data;
    const rows = this.#run.blocked[task];
    const last = blocked[rows[countUpTo(rows, t, (row) => blocked[row].t) - 1]];
    const transition = transitions.find(({ from, to }) => t >= from && t <= to);
    if (!last || !transition || last.t < transition.from) return '';
    if (this.#run.stateAt(task, t) === transition.target) return '';
    return `could not switch: ${last.why}`;
  }

  #showSites(t: number): void {
    const rows = this.#run.sitesAt(t).map((site) => {
      const row = element('div', 'site');
      row.append(element('strong', '', site.where), element('pre', '', site.after));
      row.append(element('small', '', `since ${timeText(site.t)}; before: ${site.before}`));
      return row;
    });
    this.#sites.replaceChildren(...(rows.length > 0 ? rows : [element('p', '', 'none was rewritten yet')]));
  }

  /** Lines around the moment, the last one before it in the middle. */
  #showLog(t: number, wanted: string): void {
    const { log } = this.#run.data;
    const lines = wanted === '' ? log : log.filter(({ text, t: at }) => text.includes(wanted) || at === t);
    const now = countUpTo(lines, t, (line) => line.t);
    const from = Math.max(0, Math.min(now - MOST / 2, lines.length - MOST));
    const rows = lines.slice(from, from + MOST).map((line, i) => {
      const row = element('button', from + i < now ? 'line' : 'line later', line.text);
      row.dataset.t = String(line.t);
      return row;
    });
    this.#log.replaceChildren(...rows);
    // Not scrollIntoView(), which moves all that is around it, too.
    const last = rows[now - from - 1];
    if (last) this.#log.scrollTop = last.offsetTop - this.#log.clientHeight / 2;
  }
}

function section(title: string, content: HTMLElement): HTMLElement {
  const made = element('section');
  made.append(element('h3', '', title), content);
  return made;
}
