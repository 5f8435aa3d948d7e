// How long a browser takes to open the page of a run (`--html`), its first picture drawn: of a million slices of 5,000 tasks,
// beside one of five tasks. Needs Debian's chromium.

import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { html } from '../src/timeline/html.ts';
import { NO_BROWSER, Pages } from '../test/timeline/browser.ts';
import { madeUp } from '../test/timeline/made_up.ts';
import { Report } from './lib/report.ts';

const ROUNDS = 5;

async function main(): Promise<void> {
  if (NO_BROWSER) {
    console.error(`page: not measured: ${NO_BROWSER}`);
    process.exitCode = 2;
    return;
  }
  const dir = mkdtempSync(join(tmpdir(), 'klpemu-page-'));
  const pages = await Pages.open();
  try {
    const written = (tasks: number, runs: number): string => {
      const file = join(dir, `${tasks}.html`);
      writeFileSync(file, [...html({ runs: [{ label: '', data: madeUp(tasks, runs) }] })].join(''));
      return file;
    };
    const files = { small: written(5, 50), large: written(5000, 1_000_000) };
    const shortest = { small: Number.POSITIVE_INFINITY, large: Number.POSITIVE_INFINITY };
    for (let round = 0; round < ROUNDS; round++)
      for (const kind of ['small', 'large'] as const) {
        const start = performance.now();
        const page = await pages.page(files[kind]);
        await page.evaluate('klpemuPage.draw()');
        shortest[kind] = Math.min(shortest[kind], performance.now() - start);
        await page.close();
      }
    const report = new Report('the page of a run');
    report.add({
      name: 'opened, a million slices of 5,000 tasks',
      value: shortest.large,
      unit: 'ms',
      baseline: { name: 'five tasks', value: shortest.small },
      aim: { below: 2000 },
      judged: 'value',
    });
    report.end();
  } finally {
    await pages.close();
    rmSync(dir, { recursive: true, force: true });
  }
}

await main();
