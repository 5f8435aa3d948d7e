// The picture: draws what is visible, and nothing else. What would share a pixel is drawn once.
//
// Invariant: `drawn` says how many rows of the run are in what was drawn last, each of those whose lanes are visible.

import { LANE_HEIGHT, type Lane } from './lanes.ts';
import { countUpTo, firstBehind, type Run } from './run.ts';

/** Pixels of the names of lanes. */
const LABELS = 170;
const AXIS = 24;

export interface View {
  /** Virtual ns at the left and at the right. */
  from: number;
  to: number;
  /** Pixels that lanes are scrolled by. */
  top: number;
  /** The moment that is looked at. */
  moment: number;
}

export interface Drawn {
  runs: number;
  states: number;
  switches: number;
  blocked: number;
  transitions: number;
  log: number;
  pokes: number;
  troubles: number;
}

const nothing = (): Drawn => ({
  runs: 0,
  states: 0,
  switches: 0,
  blocked: 0,
  transitions: 0,
  log: 0,
  pokes: 0,
  troubles: 0,
});

interface Colors {
  readonly text: string;
  readonly faint: string;
  readonly line: string;
  readonly run: string;
  readonly patched: string;
  readonly unpatched: string;
  readonly mark: string;
  readonly moment: string;
}

export class Picture {
  drawn = nothing();
  /** What is drawn from now on. */
  run: Run;
  readonly #canvas: HTMLCanvasElement;
  readonly #context: CanvasRenderingContext2D;
  #width = 0;
  #height = 0;
  #colors: Colors | undefined;

  constructor(run: Run, canvas: HTMLCanvasElement) {
    this.run = run;
    this.#canvas = canvas;
    this.#context = canvas.getContext('2d') as CanvasRenderingContext2D;
  }

  /** Pixels of lanes that are visible. */
  get room(): number {
    return this.#height - AXIS;
  }

  timeAt(x: number, { from, to }: View): number {
    const part = (x - LABELS) / (this.#width - LABELS);
    return Math.round(from + Math.min(1, Math.max(0, part)) * (to - from));
  }

  laneAt(y: number, { top }: View): number {
    return Math.floor((y - AXIS + top) / LANE_HEIGHT);
  }

  draw(lanes: readonly Lane[], view: View): void {
    this.#fit();
    this.#colors = colorsOf(this.#canvas);
    this.drawn = nothing();
    const context = this.#context;
    context.clearRect(0, 0, this.#width, this.#height);
    context.font = '12px system-ui, sans-serif';
    context.textBaseline = 'middle';
    const first = Math.max(0, Math.floor(view.top / LANE_HEIGHT));
    const last = Math.min(lanes.length, Math.ceil((view.top + this.room) / LANE_HEIGHT));
    context.save();
    context.beginPath();
    context.rect(0, AXIS, this.#width, this.room);
    context.clip();
    for (let i = first; i < last; i++) this.#lane(lanes[i], AXIS + i * LANE_HEIGHT - view.top, view);
    context.restore();
    this.#axis(view);
  }

  #fit(): void {
    const { clientWidth, clientHeight } = this.#canvas;
    const scale = globalThis.devicePixelRatio || 1;
    this.#width = clientWidth;
    this.#height = clientHeight;
    if (this.#canvas.width !== clientWidth * scale || this.#canvas.height !== clientHeight * scale) {
      this.#canvas.width = clientWidth * scale;
      this.#canvas.height = clientHeight * scale;
    }
    this.#context.setTransform(scale, 0, 0, scale, 0, 0);
  }

  #x(t: number, { from, to }: View): number {
    return LABELS + ((t - from) / (to - from)) * (this.#width - LABELS);
  }

  #lane(lane: Lane, y: number, view: View): void {
    const context = this.#context;
    const colors = this.#colors as Colors;
    context.fillStyle = colors.text;
    context.fillText(shortened(lane.label), 6, y + LANE_HEIGHT / 2);
    context.fillStyle = colors.line;
    context.fillRect(0, y + LANE_HEIGHT - 1, this.#width, 1);
    context.save();
    context.beginPath();
    context.rect(LABELS, y, this.#width - LABELS, LANE_HEIGHT);
    context.clip();
    switch (lane.kind) {
      case 'cpu':
        this.#cpu(lane.cpu, y, view);
        break;
      case 'transitions':
        this.#transitions(lane.patch, y, view);
        break;
      case 'log':
        this.drawn.log += this.#ticks(this.run.data.log, y, view);
        break;
      case 'text':
        this.drawn.pokes += this.#ticks(this.run.data.pokes, y, view);
        break;
      case 'troubles':
        this.drawn.troubles += this.#ticks(this.run.data.troubles, y, view, colors.moment);
        break;
      case 'task':
        this.#task(lane.task, y, view);
    }
    context.restore();
  }

  /** Bars, those that would share a pixel as one. @returns how many rows they are */
  #bars(
    rows: Run['cpus'][number],
    view: View,
    bar: (row: number, x: number, width: number) => void,
    isShown: (row: number) => boolean = () => true,
  ): number {
    let count = 0;
    let filled = Number.NEGATIVE_INFINITY;
    for (let i = firstBehind(rows, view.from); i < rows.row.length && rows.from[i] <= view.to; i++) {
      if (!isShown(rows.row[i])) continue;
      count++;
      const [left, right] = [this.#x(rows.from[i], view), this.#x(rows.to[i], view)];
      if (right < filled) continue;
      const x = Math.max(left, LABELS, filled);
      const end = Math.min(Math.max(right, x + 1), this.#width);
      bar(rows.row[i], x, end - x);
      filled = right < left + 1 ? x + 1 : right;
    }
    return count;
  }

  #cpu(cpu: number, y: number, view: View): void {
    const context = this.#context;
    const { runs, tasks } = this.run.data;
    const colors = this.#colors as Colors;
    const isBusy = (row: number): boolean => tasks[runs.task[row]].pid !== 0;
    this.drawn.runs += this.#bars(
      this.run.cpus[cpu],
      view,
      (row, x, width) => {
        context.fillStyle = colors.run;
        context.fillRect(x, y + 3, width, LANE_HEIGHT - 7);
        if (width < 40) return;
        context.save();
        context.beginPath();
        context.rect(x, y, width, LANE_HEIGHT);
        context.clip();
        context.fillStyle = colors.text;
        context.fillText(this.run.nameOf(runs.task[row]), x + 4, y + LANE_HEIGHT / 2);
        context.restore();
      },
      isBusy,
    );
  }

  #task(task: number, y: number, view: View): void {
    const context = this.#context;
    const { states, tasks } = this.run.data;
    const colors = this.#colors as Colors;
    const { from, to, lives } = tasks[task];
    const [born, gone] = [this.#x(from, view), this.#x(lives ? this.run.data.end : to, view)];
    context.fillStyle = colors.line;
    context.fillRect(
      Math.max(born, LABELS),
      y + LANE_HEIGHT / 2,
      Math.max(0, gone - Math.max(born, LABELS)),
      1,
    );
    this.drawn.states += this.#bars(this.run.states[task], view, (row, x, width) => {
      context.fillStyle = states.state[row] === 1 ? colors.patched : colors.unpatched;
      context.fillRect(x, y + 3, width, 9);
      // Not by its colour alone: what is not patched is hollow.
      if (states.state[row] === 1 || width < 4) return;
      context.clearRect(x + 1, y + 6, width - 2, 3);
    });
    this.#bars(this.run.runs[task], view, (_, x, width) => {
      context.fillStyle = colors.run;
      context.fillRect(x, y + 14, width, 4);
    });
    this.#switches(task, y, view);
  }

  /** A mark at each switch, by its way, and at each moment at which it could not. */
  #switches(task: number, y: number, view: View): void {
    const context = this.#context;
    const { states, blocked, ways } = this.run.data;
    const colors = this.#colors as Colors;
    const { row } = this.run.states[task];
    for (let i = 0; i < row.length; i++) {
      const [at, way] = [states.from[row[i]], states.way[row[i]]];
      if (way < 0 || at < view.from || at > view.to) continue;
      this.drawn.switches++;
      context.fillStyle = colors.mark;
      mark(context, ways[way], this.#x(at, view), y + 7);
    }
    const rows = this.run.blocked[task];
    for (let i = countUpTo(rows, view.from - 1, (each) => blocked[each].t); i < rows.length; i++) {
      const { t } = blocked[rows[i]];
      if (t > view.to) break;
      this.drawn.blocked++;
      cross(context, this.#x(t, view), y + 7, colors.moment);
    }
  }

  #transitions(patch: string, y: number, view: View): void {
    const context = this.#context;
    const colors = this.#colors as Colors;
    for (const each of this.run.data.transitions) {
      if (each.patch !== patch || each.to < view.from || each.from > view.to) continue;
      this.drawn.transitions++;
      const [x, right] = [Math.max(this.#x(each.from, view), LABELS), this.#x(each.to, view)];
      context.fillStyle = each.target === 1 ? colors.patched : colors.unpatched;
      context.fillRect(x, y + 3, Math.max(2, right - x), LANE_HEIGHT - 7);
      const most = Math.max(1, ...each.left.map(({ tasks }) => tasks));
      context.fillStyle = colors.faint;
      for (const [i, { t, tasks }] of each.left.entries()) {
        const end = this.#x(each.left[i + 1]?.t ?? each.to, view);
        const height = (1 - tasks / most) * (LANE_HEIGHT - 7);
        context.fillRect(
          Math.max(this.#x(t, view), LABELS),
          y + 3,
          Math.max(0, end - this.#x(t, view)),
          height,
        );
      }
      context.fillStyle = colors.text;
      context.fillText(
        `${each.target === 1 ? 'patching' : 'unpatching'}: ${each.outcome}`,
        x + 4,
        y + LANE_HEIGHT / 2,
      );
    }
  }

  /** @returns how many are there */
  #ticks(
    rows: readonly { readonly t: number }[],
    y: number,
    view: View,
    color = (this.#colors as Colors).mark,
  ): number {
    const context = this.#context;
    context.fillStyle = color;
    let count = 0;
    let before = -1;
    for (let i = countUpTo(rows, view.from - 1, ({ t }) => t); i < rows.length && rows[i].t <= view.to; i++) {
      count++;
      const x = Math.round(this.#x(rows[i].t, view));
      if (x !== before) context.fillRect(x, y + 4, 2, LANE_HEIGHT - 9);
      before = x;
    }
    return count;
  }

  #axis(view: View): void {
    const context = this.#context;
    const colors = this.#colors as Colors;
    const step = stepOf((view.to - view.from) / Math.max(2, (this.#width - LABELS) / 110));
    context.fillStyle = colors.text;
    for (let t = Math.ceil(view.from / step) * step; t <= view.to; t += step) {
      const x = this.#x(t, view);
      context.fillRect(x, AXIS - 5, 1, 5);
      context.fillText(timeText(t, step), x + 3, AXIS / 2);
    }
    const x = this.#x(view.moment, view);
    if (x < LABELS || x > this.#width) return;
    context.fillStyle = colors.moment;
    context.fillRect(x, 0, 1, this.#height);
  }
}

function shortened(label: string): string {
  return label.length > 25 ? `${label.slice(0, 24)}\u2026` : label;
}

/** 1, 2 or 5 times a power of ten. */
function stepOf(least: number): number {
  const power = 10 ** Math.floor(Math.log10(Math.max(1, least)));
  return [1, 2, 5, 10].map((factor) => factor * power).find((step) => step >= least) ?? 10 * power;
}

/** As dmesg has it, with as many digits as tell one step from another. */
export function timeText(t: number, step = 1): string {
  const digits = Math.min(9, Math.max(0, Math.ceil(-Math.log10(step / 1e9))));
  return `${(t / 1e9).toFixed(digits)}s`;
}

/** A shape a way. */
const SHAPES: Readonly<Record<string, readonly (readonly [number, number])[]>> = {
  'stack check': [
    [-4, -4],
    [4, -4],
    [4, 4],
    [-4, 4],
  ],
  'kernel exit': [
    [-4, -4],
    [5, 0],
    [-4, 4],
  ],
  'idle loop': [
    [0, -5],
    [5, 4],
    [-5, 4],
  ],
  fork: [
    [0, -5],
    [5, 0],
    [0, 5],
    [-5, 0],
  ],
  force: [
    [-5, -1],
    [-1, -1],
    [-1, -5],
    [1, -5],
    [1, -1],
    [5, -1],
    [5, 1],
    [1, 1],
    [1, 5],
    [-1, 5],
    [-1, 1],
    [-5, 1],
  ],
};

function mark(context: CanvasRenderingContext2D, way: string, x: number, y: number): void {
  const shape = SHAPES[way] ?? SHAPES['stack check'];
  context.beginPath();
  for (const [right, down] of shape) context.lineTo(x + right, y + down);
  context.closePath();
  context.fill();
}

function cross(context: CanvasRenderingContext2D, x: number, y: number, color: string): void {
  context.strokeStyle = color;
  context.lineWidth = 1.5;
  context.beginPath();
  context.moveTo(x - 4, y - 4);
  context.lineTo(x + 4, y + 4);
  context.moveTo(x + 4, y - 4);
  context.lineTo(x - 4, y + 4);
  context.stroke();
}

function colorsOf(element: Element): Colors {
  const style = getComputedStyle(element);
  const of = (name: string): string => style.getPropertyValue(`--${name}`).trim();
  return {
    text: of('text'),
    faint: of('faint'),
    line: of('line'),
    run: of('run'),
    patched: of('patched'),
    unpatched: of('unpatched'),
    mark: of('mark'),
    moment: of('moment'),
  };
}
