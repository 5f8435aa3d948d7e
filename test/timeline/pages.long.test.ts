// --html of compare and of explore's counterexamples, in a real browser: what they say is what the commands print.

import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { Cli } from '../cli/klpemu.ts';
import { type KlpemuPage, NO_BROWSER, Pages } from './browser.ts';

declare const klpemuPage: KlpemuPage;

describe.skipIf(NO_BROWSER)(`the pages of compare and explore${NO_BROWSER ? ` (${NO_BROWSER})` : ''}`, () => {
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

  it('compare --html has the run under each model, and the table that it prints', async () => {
    const file = join(cli.dir, 'compared.html');
    const { status, stdout, stderr } = cli.run(['compare', 'fixtures/bundles/middle.yaml', '--html', file]);
    expect(status, stderr).toBe(0);
    const page = await pages.page(file);
    await page.setViewportSize({ width: 1400, height: 3000 });
    const rows = await page
      .locator('table tr')
      .evaluateAll((all) => all.map((row) => [...row.children].map(({ textContent }) => textContent ?? '')));
    expect(rows[0]).toEqual(['', 'classic', 'bundle']);
    const printed = stdout.split('\n').slice(4).filter(Boolean);
    expect(rows.slice(1).map((cells) => cells.map((cell) => cell.trim()))).toEqual(
      printed.map((line) => line.trim().split(/ {2,}/)),
    );
    // Under the classic model two livepatches have a transition each, as a bundle they have one.
    expect(await page.evaluate(() => klpemuPage.draw().transitions)).toBe(2);
    await page.evaluate(() => klpemuPage.look({ from: 1000, to: 900_000_000 }));
    await page.locator('canvas').focus();
    await page.keyboard.press('m');
    expect(await page.locator('.tab[aria-pressed=true]').textContent()).toBe('bundle');
    expect(await page.evaluate(() => klpemuPage.draw().transitions)).toBe(1);
    // The same time is looked at.
    expect(await page.evaluate(() => klpemuPage.view)).toMatchObject({ from: 1000, to: 900_000_000 });
    await page.getByRole('button', { name: 'classic' }).click();
    expect(await page.evaluate(() => klpemuPage.draw().transitions)).toBe(2);
    expect(pages.errors).toEqual([]);
  });

  it('explore --html has the run that was found, what led to it, and how it is had again', async () => {
    const file = join(cli.dir, 'found.html');
    const scenario = 'fixtures/scenarios/explore_gap.yaml';
    const words = ['explore', scenario, '--searcher', 'replay', '--schedule', 'q+,p0@55177', '--json'];
    const { status, stdout, stderr } = cli.run([...words, '--html', file]);
    expect(status, stderr).toBe(1);
    const { found } = JSON.parse(stdout) as {
      found: { lines: { text: string; t?: number }[]; problems: { text: string }[]; schedule: string };
    };
    const page = await pages.page(file);
    const story = page.locator('.story');
    expect(await story.locator('.line').allTextContents()).toEqual(found.lines.map(({ text }) => text));
    expect(await page.locator('.command').textContent()).toBe(
      `klpemu run ${scenario} --schedule ${found.schedule}`,
    );
    const [{ text: problem }] = found.problems;
    expect(await page.locator('p.outcome.failed').textContent()).toBe(problem.split('\n')[0]);
    const wrong = found.lines.findIndex(({ text }) => text.startsWith('***'));
    await story.locator('.line').nth(wrong).click();
    expect(await page.evaluate(() => klpemuPage.view.moment)).toBe(found.lines[wrong].t);
    expect(await page.evaluate(() => klpemuPage.draw().troubles)).toBe(1);
    expect(pages.errors).toEqual([]);
  });

  it('explore leaves no page where nothing was found, and says before it looks that it could not write one', () => {
    const file = join(cli.dir, 'nothing.html');
    const words = [
      'explore',
      'fixtures/scenarios/explore_gap.yaml',
      '--searcher',
      'replay',
      '--schedule',
      'q+',
    ];
    const quiet = cli.run([...words, '--html', file]);
    expect(quiet.status, quiet.stderr).not.toBe(1);
    expect(existsSync(file)).toBe(false);
    const nowhere = cli.run([...words, '--html', join(cli.dir, 'no/where.html')]);
    expect(nowhere.status).toBe(2);
    expect(nowhere.stderr).toContain('no/where.html: no such file or directory');
  });
});
