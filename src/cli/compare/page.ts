// klpemu compare --html: the run under each model as one page, with the table of what was counted.

import { isDoing, type Measures, type ModelObserver } from '../../compare/run.ts';
import type { Comparison, Model } from '../../scenario/scenario.ts';
import { formatDuration } from '../../scenario/units.ts';
import { html } from '../../timeline/html.ts';
import { pageData } from '../../timeline/page_data.ts';
import type { PageFile } from '../../timeline/page_format.ts';
import { PictureObserver } from '../../timeline/picture.ts';
import { counted } from '../numbers.ts';
import { OutputFile } from '../run/output_file.ts';

type Runs = PageFile['runs'][number][];

export class ComparedPage {
  readonly #file: OutputFile;
  readonly #work: Comparison;
  readonly #runs: Runs = [];
  #model: Model | undefined;
  #picture = new ModelPicture();

  /** @throws UsageError when it cannot be written */
  constructor(path: string, work: Comparison) {
    this.#file = new OutputFile(path);
    this.#work = work;
  }

  /** For the run that comes next. */
  observer(model: Model): ModelObserver {
    this.#model = model;
    this.#picture = new ModelPicture();
    return this.#picture;
  }

  /** The run is over. */
  ran({ failed }: Measures): void {
    const { name, about, steps } = this.#work;
    const timeline = this.#picture.finish();
    if (!timeline || !this.#model) return;
    const done = steps.filter(isDoing).length;
    const after = `${formatDuration(timeline.end)} of virtual time`;
    const text =
      failed.length === 0
        ? `${counted(done, 'step')}, none failed; ${after}`
        : `failed: ${failed.join(', ')}; ${after}`;
    const data = pageData(timeline, this.#picture, {
      title: name,
      about: about ?? '',
      machine: `${this.#picture.machineText}, model ${this.#model}`,
      outcome: { ok: failed.length === 0, text },
      failed: false,
    });
    this.#runs.push({ label: this.#model, data });
  }

  /** @throws UsageError */
  write(table: PageFile['table'] & object): void {
    this.#file.write(html({ runs: this.#runs, table }));
  }
}

class ModelPicture extends PictureObserver implements ModelObserver {
  machineText = '';

  override begin(machine: Parameters<ModelObserver['begin']>[0]): void {
    super.begin(machine);
    const { cpus, seed, unwinder } = machine.options;
    this.machineText = `${cpus} CPUs, seed ${seed}, unwinder ${unwinder}`;
  }
}
