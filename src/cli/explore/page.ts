// klpemu explore --html: the run that was found as a page, with what led to it. Where nothing is found there is none.

import type { Line } from '../../explore/counterexample.ts';
import type { Problem } from '../../explore/judges.ts';
import type { RunReport } from '../../scenario/report.ts';
import type { Scenario } from '../../scenario/scenario.ts';
import { html } from '../../timeline/html.ts';
import { pageData } from '../../timeline/page_data.ts';
import { PictureObserver } from '../../timeline/picture.ts';
import { toldOf } from '../../timeline/told.ts';
import { OutputFile } from '../run/output_file.ts';

interface Found {
  readonly problems: readonly Problem[];
  readonly lines: readonly Line[];
  /** By which it is run again. */
  readonly command: string;
}

export class FoundPage extends PictureObserver {
  readonly #file: OutputFile;

  /** @throws UsageError when it cannot be written */
  constructor(path: string) {
    super();
    this.#file = new OutputFile(path);
  }

  /** @throws UsageError */
  write(report: RunReport, { about }: Scenario, { problems, lines, command }: Found): void {
    const timeline = this.finish();
    if (!timeline) {
      this.discard();
      return;
    }
    const told = toldOf(report, about);
    // That all expectations held is not what came of it.
    const outcome = { ok: false, text: problems.map(({ text }) => text.split('\n', 1)[0]).join('; ') };
    const data = pageData(timeline, this, { ...told, outcome });
    const story = { problems: problems.map(({ text }) => text), command, lines };
    this.#file.write(html({ runs: [{ label: report.scenario, data }], story }));
  }

  discard(): void {
    this.#file.discard();
  }
}
