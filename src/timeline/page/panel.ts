// What is known of the moment that is looked at: tasks with their stacks, fentry sites, the log.
//
// Invariant: text of the run becomes text of elements, never markup.

import type { PageFile } from '../page_format.ts';
import { timeText } from './canvas.ts';
import { countUpTo, type Run } from './run.ts';

/** Rows that are made at once: who wants others looks for them. */
const MOST = 200;
/** Writes to text, and names of who ran between two of them. */
const MOST_POKES = 24;
const MOST_NAMES = 8;
const STATES: Readonly<Record<number, string>> = { 0: 'unpatched', 1: 'patched' };

export function element(tag: string, className = '', text = ''): HTMLElement {
  const made = document.createElement(tag);
  if (className) made.className = className;
  if (text) made.textContent = text;
  return made;
}

export class Panel {
  /** What is told of from now on. */
  run: Run;
  /** Tasks whose stacks nobody wants to see. */
  readonly #closed = new Set<number>();
  readonly #moment = element('h2', 'moment');
  readonly #tasks = element('div', 'tasks');
  readonly #sites = element('div', 'sites');
  readonly #written = element('div', 'written');
  readonly #log = element('div', 'log');
  readonly #troubles = element('div', 'troubles');

  /** @param select called with a moment that somebody chose here */
  constructor(
    run: Run,
    into: HTMLElement,
    select: (t: number) => void,
    { table, story }: Pick<PageFile, 'table' | 'story'>,
  ) {
    this.run = run;
    this.#moment.setAttribute('aria-live', 'polite');
    if (story) into.append(section('What went wrong', storyOf(story)));
    if (table) into.append(section('Counted', tableOf(table)));
    into.append(
      this.#moment,
      this.#troubles,
      section('Tasks', this.#tasks),
      section('Fentry sites', this.#sites),
      section('Text written', this.#written),
      section('dmesg', this.#log),
    );
    into.addEventListener('click', (event) => {
      const t = (event.target as HTMLElement).closest<HTMLElement>('[data-t]')?.dataset.t;
      if (t !== undefined) select(Number(t));
    });
  }

  /** @param wanted part of the names of tasks, and of lines of the log */
  show(t: number, wanted: string): void {
    this.#moment.textContent = `At ${timeText(t)}`;
    this.#showTroubles();
    this.#showTasks(t, wanted);
    this.#showSites(t);
    this.#showWritten(t, wanted);
    this.#showLog(t, wanted);
  }

  /** All of the run: whoever opens it is to see them first. */
  #showTroubles(): void {
    const rows = this.run.data.troubles.map(({ t, text }) => timed('line blocked', t, text));
    this.#troubles.replaceChildren(...rows);
  }

  #showTasks(t: number, wanted: string): void {
    const run = this.run;
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
    const run = this.run;
    const row = element('details', 'task') as HTMLDetailsElement;
    const { pid } = run.data.tasks[task];
    row.open = !this.#closed.has(pid);
    row.addEventListener('toggle', () => {
      if (row.open) this.#closed.delete(pid);
      else this.#closed.add(pid);
    });
    row.dataset.pid = String(pid);
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
    const { blocked, transitions } = this.run.data;
    const rows = this.run.blocked[task];
    const last = blocked[rows[countUpTo(rows, t, (row) => blocked[row].t) - 1]];
    const transition = transitions.find(({ from, to }) => t >= from && t <= to);
    if (!last || !transition || last.t < transition.from) return '';
    if (this.run.stateAt(task, t) === transition.target) return '';
    return `could not switch: ${last.why}`;
  }

  #showSites(t: number): void {
    const rows = this.run.sitesAt(t).map((site) => {
      const row = element('div', 'site');
      row.append(element('strong', '', site.where), element('pre', '', site.after));
      row.append(element('small', '', `since ${timeText(site.t)}; before: ${site.before}`));
      return row;
    });
    this.#sites.replaceChildren(...(rows.length > 0 ? rows : [element('p', '', 'none was rewritten yet')]));
  }

  /** Who wrote which bytes up to the moment, the last first, and who ran since the bytes before. */
  #showWritten(t: number, wanted: string): void {
    const { run } = this;
    const { pokes } = run.data;
    const up = pokes.slice(
      0,
      countUpTo(pokes, t, (poke) => poke.t),
    );
    const named = wanted === '' ? [] : up.filter(({ where }) => where.includes(wanted));
    const shown = (named.length > 0 ? named : up).slice(-MOST_POKES - 1);
    const rows = shown.map(({ t: at, cpu, where, step, before, after }, i) => {
      const who = run.whoAt(cpu, at);
      const by = who === undefined ? `CPU ${cpu}` : `${run.nameOf(who)} on CPU ${cpu}`;
      const row = timed('line', at, `${timeText(at)} ${by}: ${where}, ${step}: ${before} \u2192 ${after}`);
      const since = shown[i - 1];
      if (since) row.append(element('small', 'between', this.#between(since.t, at, who)));
      return row;
    });
    if (shown.length > MOST_POKES) rows.shift();
    this.#written.replaceChildren(...(rows.length > 0 ? rows.reverse() : [element('p', '', 'none yet')]));
  }

  #between(from: number, to: number, writer: number | undefined): string {
    const others = this.run.ranBetween(from, to).filter((task) => task !== writer);
    const names = others.slice(0, MOST_NAMES).map((task) => this.run.nameOf(task));
    const more = others.length > MOST_NAMES ? ` and ${others.length - MOST_NAMES} more` : '';
    return `\nsince the bytes before ran: ${names.join(', ') || 'nobody else'}${more}`;
  }

  /** Lines around the moment, the last one before it in the middle. */
  #showLog(t: number, wanted: string): void {
    const { log } = this.run.data;
    const lines = wanted === '' ? log : log.filter(({ text, t: at }) => text.includes(wanted) || at === t);
    const now = countUpTo(lines, t, (line) => line.t);
    const from = Math.max(0, Math.min(now - MOST / 2, lines.length - MOST));
    const rows = lines
      .slice(from, from + MOST)
      .map((line, i) => timed(from + i < now ? 'line' : 'line later', line.t, line.text));
    this.#log.replaceChildren(...rows);
    // Not scrollIntoView(), which moves all that is around it, too.
    const last = rows[now - from - 1];
    if (last) this.#log.scrollTop = last.offsetTop - this.#log.clientHeight / 2;
  }
}

/** A line that leads to its moment. */
function timed(className: string, t: number, text: string): HTMLElement {
  const made = element('button', className, text);
  made.dataset.t = String(t);
  return made;
}

/** A column a CPU, as a maintainer draws it. */
function storyOf({ problems, command, lines }: NonNullable<PageFile['story']>): HTMLElement {
  const cpus = [...new Set(lines.map(({ cpu }) => cpu).filter((cpu) => cpu >= 0))].sort((a, b) => a - b);
  const grid = element('div', 'story');
  grid.style.gridTemplateColumns = `repeat(${Math.max(1, cpus.length)}, minmax(0, 1fr))`;
  grid.append(...cpus.map((cpu) => element('strong', '', `CPU ${cpu}`)));
  for (const [i, { cpu, text, t }] of lines.entries()) {
    const line = t === undefined ? element('span', 'line', text) : timed('line', t, text);
    line.style.gridArea = `${i + 2} / ${Math.max(0, cpus.indexOf(cpu)) + 1}`;
    grid.append(line);
  }
  const made = element('div');
  made.append(...problems.map((text) => element('p', 'blocked', text)), grid);
  made.append(element('p', '', 'This run again:'), element('pre', 'command', command));
  return made;
}

function tableOf({ heads, rows }: NonNullable<PageFile['table']>): HTMLElement {
  const made = element('table');
  const head = element('tr');
  head.append(...heads.map((text) => element('th', '', text)));
  made.append(head);
  for (const cells of rows) {
    const row = element('tr');
    row.append(...cells.map((text, i) => element(i === 0 ? 'th' : 'td', '', text)));
    made.append(row);
  }
  return made;
}

function section(title: string, content: HTMLElement): HTMLElement {
  const made = element('section');
  made.append(element('h3', '', title), content);
  return made;
}
