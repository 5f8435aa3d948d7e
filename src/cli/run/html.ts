// --html: a run as a page, written when it is over, whatever came of it.

import type { RunReport } from '../../scenario/report.ts';
import type { Scenario } from '../../scenario/scenario.ts';
import { html } from '../../timeline/html.ts';
import { pageData } from '../../timeline/page_data.ts';
import { PictureObserver } from '../../timeline/picture.ts';
import { toldOf } from '../../timeline/told.ts';
import { OutputFile } from './output_file.ts';

export class HtmlFile extends PictureObserver {
  readonly #file: OutputFile;

  /** @throws UsageError when it cannot be written */
  constructor(path: string) {
    super();
    this.#file = new OutputFile(path);
  }

  /** Writes the whole run. @throws UsageError */
  write(report: RunReport, { about }: Scenario): void {
    const timeline = this.finish();
    if (!timeline) {
      this.#file.write([]);
      return;
    }
    const data = pageData(timeline, this, toldOf(report, about));
    this.#file.write(html({ runs: [{ label: report.scenario, data }] }));
  }
}
