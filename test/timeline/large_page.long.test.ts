// Pages of 5 tasks and of 5,000, and of a million runs: what is drawn is what is visible, however much there is. And the page
// of the demo, by the command of the README.

import { spawnSync } from 'node:child_process';
import { statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { html } from '../../src/timeline/html.ts';
import type { PageData } from '../../src/timeline/page_format.ts';
import { Cli, ROOT } from '../cli/klpemu.ts';
import { type KlpemuPage, NO_BROWSER, Pages } from './browser.ts';
import { madeUp } from './made_up.ts';

declare const klpemuPage: KlpemuPage;

describe.skipIf(NO_BROWSER)(`large and small pages${NO_BROWSER ? ` (${NO_BROWSER})` : ''}`, () => {
  let cli: Cli;
  let pages: Pages;
  beforeAll(async () => {
    cli = new Cli();
    pages = await Pages.open();
  });
  afterAll(async () => {
    await pages?.close();
    cli.remove();
  });

  async function opened(tasks: number, runs: number) {
    const file = join(cli.dir, `${tasks}.html`);
    writeFileSync(file, [...html({ runs: [{ label: '', data: madeUp(tasks, runs) }] })].join(''));
    return pages.page(file);
  }
  const rectangles = `(() => {
    let count = 0;
    const { fillRect } = CanvasRenderingContext2D.prototype;
    CanvasRenderingContext2D.prototype.fillRect = function (...args) {
      count++;
      return fillRect.apply(this, args);
    };
    const drawn = klpemuPage.draw();
    CanvasRenderingContext2D.prototype.fillRect = fillRect;
    return { count, drawn };
  })()`;
  interface Counted {
    count: number;
    drawn: { runs: number; switches: number };
  }

  it('a million runs of 5,000 tasks are drawn as what is visible of them', async () => {
    const page = await opened(5000, 1_000_000);
    const { count, drawn } = (await page.evaluate(rectangles)) as Counted;
    expect(drawn.runs).toBe(1_000_000);
    // Of two CPUs a bar a pixel at most, and of 40 tasks their 200 runs each.
    expect(count).toBeLessThan(2 * 1400 + 40 * 210);
    expect(drawn.switches).toBeLessThan(50);
    // A thousandth of it is as many rows, and no more.
    const near = (await page.evaluate(() => klpemuPage.look({ from: 0, to: 1_000_000 }))) as Counted['drawn'];
    expect(near.runs).toBeLessThan(1010);
    expect(near.runs).toBeGreaterThan(990);
    // Each of the tasks is found by its name, and the last is come to by scrolling.
    expect(await page.locator('.task').count()).toBe(200);
    expect(await page.locator('.more').textContent()).toContain('4800 more');
    await page.locator('input').fill('task:4999');
    expect(await page.locator('.task summary').allTextContents()).toEqual(['task:4999patched']);
    await page.locator('input').fill('');
    await page.evaluate(() => klpemuPage.look({ from: 0, to: 1e9, top: 1e9 }));
    expect((await page.evaluate(() => klpemuPage.draw())).switches).toBeGreaterThan(10);
  });

  it('five tasks are all there at once', async () => {
    const page = await opened(5, 50);
    const { drawn } = (await page.evaluate(rectangles)) as Counted;
    expect(drawn).toMatchObject({ runs: 50, switches: 5 });
    expect(await page.locator('.task').count()).toBe(5);
    expect(pages.errors).toEqual([]);
  });

  it('npm run demo -- --html writes the page of the demo, whose worker is the last to switch', async () => {
    const file = join(cli.dir, 'demo.html');
    const { status, stderr } = spawnSync(
      'npm',
      ['run', '--silent', 'demo', '--', '--quiet', '--html', file],
      {
        cwd: ROOT,
        encoding: 'utf8',
      },
    );
    expect(status, stderr).toBe(0);
    expect(statSync(file).size).toBeLessThan(1 << 20);
    const page = await pages.page(file);
    const run = (await page.evaluate(
      `JSON.parse(document.getElementById('run').textContent).runs[0].data`,
    )) as PageData;
    const [first] = run.transitions;
    const switched = run.states.from.flatMap((t, i) =>
      run.states.way[i] >= 0 && t >= first.from && t < first.to
        ? [{ t, task: run.tasks[run.states.task[i]] }]
        : [],
    );
    expect(first.outcome).toBe('complete');
    const born = new Set(run.tasks.filter(({ from }) => from > first.from).map(({ pid }) => pid));
    const old = switched.filter(({ task }) => !born.has(task.pid));
    expect(old.at(-1)?.task.comm).toBe('klpdemo_worker');
    expect(await page.evaluate(() => klpemuPage.draw().transitions)).toBe(run.transitions.length);
    expect(pages.errors).toEqual([]);
  });
});
