// --perfetto: a run in the Trace Event Format, written when it is over, whatever came of it.

import { TimelineObserver } from '../../timeline/observer.ts';
import { traceEvents } from '../../timeline/perfetto.ts';
import type { Timeline } from '../../timeline/timeline.ts';
import { OutputFile } from './output_file.ts';

/** Events that are written at once. */
const AT_ONCE = 4096;

export class PerfettoFile extends TimelineObserver {
  readonly #file: OutputFile;

  /** @throws UsageError when it cannot be written */
  constructor(path: string) {
    super();
    this.#file = new OutputFile(path);
  }

  /** Writes the whole run. @throws UsageError */
  write(): void {
    const timeline = this.finish();
    this.#file.write(timeline ? textOf(timeline) : ['{"traceEvents":[]}\n']);
  }
}

function* textOf(timeline: Timeline): Generator<string> {
  yield '{"displayTimeUnit":"ns","traceEvents":[\n';
  let lines: string[] = [];
  let before = '';
  for (const event of traceEvents(timeline)) {
    lines.push(JSON.stringify(event));
    if (lines.length < AT_ONCE) continue;
    yield before + lines.join(',\n');
    before = ',\n';
    lines = [];
  }
  if (lines.length > 0) yield `${before}${lines.join(',\n')}`;
  yield '\n]}\n';
}
