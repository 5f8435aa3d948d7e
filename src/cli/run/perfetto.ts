// --perfetto: a run in the Trace Event Format, written when it is over, whatever came of it.

import { closeSync, openSync } from 'node:fs';
import { TimelineObserver } from '../../timeline/observer.ts';
import { traceEvents } from '../../timeline/perfetto.ts';
import { systemReason, UsageError } from '../exit.ts';
import { writeWhole } from '../write_whole.ts';

/** Events that are written at once. */
const AT_ONCE = 4096;

export class PerfettoFile extends TimelineObserver {
  readonly #path: string;
  readonly #fd: number;

  /** @throws UsageError when it cannot be written: before anything is run */
  constructor(path: string) {
    super();
    this.#path = path;
    try {
      this.#fd = openSync(path, 'w');
    } catch (error) {
      throw new UsageError(`${path}: ${systemReason(error)}`);
    }
  }

  /** Writes the whole run. @throws UsageError */
  close(): void {
    try {
      const timeline = this.finish();
      const texts = timeline ? eventTexts(timeline) : [];
      writeWhole(this.#fd, Buffer.from('{"displayTimeUnit":"ns","traceEvents":[\n'));
      for (const text of texts) writeWhole(this.#fd, Buffer.from(text));
      writeWhole(this.#fd, Buffer.from(']}\n'));
    } catch (error) {
      throw new UsageError(`${this.#path}: ${systemReason(error)}`);
    } finally {
      closeSync(this.#fd);
    }
  }
}

function* eventTexts(timeline: Parameters<typeof traceEvents>[0]): Generator<string> {
  let lines: string[] = [];
  let before = '';
  for (const event of traceEvents(timeline)) {
    lines.push(JSON.stringify(event));
    if (lines.length < AT_ONCE) continue;
    yield before + lines.join(',\n');
    before = ',\n';
    lines = [];
  }
  if (lines.length > 0) yield `${before}${lines.join(',\n')}\n`;
}
