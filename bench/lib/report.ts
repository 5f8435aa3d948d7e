// What a benchmark says: figures with their unit, what each is held against, and whether an aim is met.
// As lines for people, or with --json as one object.

export interface Figure {
  readonly name: string;
  readonly value: number;
  readonly unit: string;
  /** Measured in the same run, in the same unit. */
  readonly baseline?: { readonly name: string; readonly value: number };
  readonly aim?: Aim;
  /** What the aim is about: the value itself, or its ratio to the baseline. */
  readonly judged?: 'value' | 'ratio';
  readonly note?: string;
}

type Aim = { readonly atLeast: number } | { readonly below: number };

export class Report {
  readonly #name: string;
  readonly #json = process.argv.includes('--json');
  readonly #figures: Figure[] = [];

  constructor(name: string) {
    this.#name = name;
    if (!this.#json) console.log(`${name}`);
  }

  add(figure: Figure): void {
    this.#figures.push(figure);
    if (!this.#json) console.log(`  ${line(figure)}`);
  }

  end(): void {
    if (!this.#json) return;
    const figures = this.#figures.map((figure) => ({ ...figure, ratio: ratio(figure), met: met(figure) }));
    console.log(JSON.stringify({ bench: this.#name, node: process.version, figures }));
  }
}

function ratio({ value, baseline }: Figure): number | undefined {
  return baseline && value / baseline.value;
}

function met(figure: Figure): boolean | undefined {
  const { aim, judged = figure.baseline ? 'ratio' : 'value' } = figure;
  if (!aim) return undefined;
  const judgedValue = judged === 'ratio' ? (ratio(figure) as number) : figure.value;
  return 'atLeast' in aim ? judgedValue >= aim.atLeast : judgedValue < aim.below;
}

function line(figure: Figure): string {
  const { name, value, unit, baseline, aim, note } = figure;
  let text = `${name}: ${number(value)} ${unit}`;
  if (baseline) {
    text += `, ${number(ratio(figure) as number)} of ${baseline.name} (${number(baseline.value)} ${unit})`;
  }
  if (note) text += `; ${note}`;
  if (!aim) return text;
  const wanted = 'atLeast' in aim ? `at least ${number(aim.atLeast)}` : `below ${number(aim.below)}`;
  return `${text}; aim ${wanted}: ${met(figure) ? 'met' : 'missed'}`;
}

/** Three digits that mean something; whole numbers from 100 on. */
export function number(value: number): string {
  if (Math.abs(value) >= 100) return Math.round(value).toLocaleString('en-US');
  return String(Number(value.toPrecision(3)));
}
