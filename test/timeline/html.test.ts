// --html: the page of a run, in a real browser: what is drawn is counted against the trace, and what it says of a moment
// is what `klpemu stack` says there.

import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Page } from 'playwright-core';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { Cli } from '../cli/klpemu.ts';
import { type KlpemuPage, NO_BROWSER, Pages } from './browser.ts';

const SCENARIO = 'fixtures/scenarios/reversal.yaml';

declare const klpemuPage: KlpemuPage;

interface TraceEvent {
  readonly t: number;
  readonly type: string;
  readonly [key: string]: unknown;
}

describe.skipIf(NO_BROWSER)(`the page of a run${NO_BROWSER ? ` (${NO_BROWSER})` : ''}`, () => {
  let cli: Cli;
  let pages: Pages;
  let page: Page;
  let trace: TraceEvent[];
  let file: string;

  beforeAll(async () => {
    cli = new Cli();
    file = join(cli.dir, 'run.html');
    const traceFile = join(cli.dir, 'run.jsonl');
    const run = cli.run(['run', SCENARIO, '--quiet', '--html', file, '--trace', traceFile]);
    expect(run.status, run.stderr).toBe(0);
    trace = readFileSync(traceFile, 'utf8')
      .trimEnd()
      .split('\n')
      .map((line) => JSON.parse(line) as TraceEvent);
    pages = await Pages.open();
    page = await pages.page(file);
  });
  afterAll(async () => {
    await pages?.close();
    cli.remove();
  });

  const of = (type: string, from = 0, to = Number.POSITIVE_INFINITY): TraceEvent[] =>
    trace.filter((event) => event.type === type && event.t >= from && event.t <= to);

  it('draws every switch, obstacle, transition, line and poke of the trace', async () => {
    // As high as it must be for all lanes to be visible.
    await page.setViewportSize({ width: 1400, height: 6000 });
    const drawn = await page.evaluate(() => klpemuPage.look({ top: 0 }));
    const lines = of('printk').flatMap(({ text }) => String(text).split('\n'));
    const targets = of('transition').filter(({ what }) => what === 'initializing' || what === 'reversing');
    expect(drawn).toMatchObject({
      switches: of('patch_state').length,
      blocked: of('blocked').length,
      transitions: targets.length,
      log: lines.length,
      pokes: of('poke').length,
    });
    const busy = of('sched').filter(({ next }) => !/^swapper\/\d+:0$/.test(String(next)));
    expect(drawn.runs).toBeGreaterThanOrEqual(busy.length);
    expect(drawn.runs).toBeLessThanOrEqual(busy.length + 2);
  });

  it('draws no more than what is visible', async () => {
    const [first] = of('transition');
    const [from, to] = [first.t - 1e6, first.t + 5e6];
    const drawn = await page.evaluate((view) => klpemuPage.look(view), { from, to });
    expect(drawn.pokes).toBe(of('poke', from, to).length);
    expect(drawn.log).toBe(of('printk', from, to).flatMap(({ text }) => String(text).split('\n')).length);
    expect(drawn.switches).toBe(of('patch_state', from, to).length);
    await page.setViewportSize({ width: 1400, height: 300 });
    const lower = await page.evaluate(() => klpemuPage.draw());
    expect(lower.switches).toBeLessThan(drawn.switches);
    await page.setViewportSize({ width: 1400, height: 900 });
  });

  it('has for a moment that is clicked the stacks that klpemu stack has then', async () => {
    await page.evaluate((to) => klpemuPage.look({ from: 0, to }), 4e9);
    await page.locator('canvas').click({ position: { x: 600, y: 200 } });
    const { moment } = await page.evaluate(() => ({ moment: klpemuPage.view.moment }));
    expect(moment).toBeGreaterThan(1e9);
    const { stdout } = cli.run(['stack', SCENARIO, '--at', `${moment / 1000}us`, '--json']);
    const { tasks, t } = JSON.parse(stdout) as {
      t: number;
      tasks: { pid: number; comm: string; stack: string[]; state: string }[];
    };
    expect(t).toBeGreaterThanOrEqual(moment);
    const shown = await page.locator('.task').evaluateAll((rows) =>
      rows.map((row) => ({
        pid: Number(row.getAttribute('data-pid')),
        stack: row.querySelector('.stack')?.textContent?.split('\n'),
      })),
    );
    const still = tasks.filter(
      ({ pid }) => pid !== 0 && !of('sched', moment, t).some(({ next }) => String(next).endsWith(`:${pid}`)),
    );
    expect(still.length).toBeGreaterThan(3);
    let compared = 0;
    for (const { pid, stack } of still) {
      const row = shown.find((each) => each.pid === pid);
      expect(row, String(pid)).toBeDefined();
      if (!row?.stack) continue;
      expect(row.stack, String(pid)).toEqual(stack);
      compared++;
    }
    expect(compared).toBeGreaterThan(3);
  });

  it('says who wrote each byte of text, and who ran since the byte before', async () => {
    const pokes = of('poke');
    const last = pokes.at(-1) as TraceEvent;
    await page.evaluate((t) => klpemuPage.select(t), last.t);
    const lines = await page.locator('.written .line').allTextContents();
    expect(lines).toHaveLength(24);
    /** Who the trace says that a CPU executed then. */
    const on = (cpu: unknown, t: number): string =>
      String(trace.findLast((event) => event.type === 'sched' && event.cpu === cpu && event.t <= t)?.next);
    const ranBetween = (from: number, to: number, writer: string): string[] => {
      const cpus = [...new Set(of('sched').map(({ cpu }) => cpu))];
      const before = cpus.map((cpu) => on(cpu, from));
      const during = of('sched', from, to).map(({ next }) => String(next));
      return [...new Set([...before, ...during])].filter((name) => !/^swapper/.test(name) && name !== writer);
    };
    for (const [i, poke] of pokes.slice(-24).reverse().entries()) {
      const { cpu, t, where, step, before, after } = poke;
      const by = on(cpu, t);
      expect(lines[i]).toContain(`${by} on CPU ${cpu}: ${where}, ${step}: ${before} \u2192 ${after}`);
      const since = pokes[pokes.indexOf(poke) - 1];
      const [, names = ''] = /since the bytes before ran: (.*)$/.exec(lines[i]) ?? [];
      const told = names === 'nobody else' ? [] : names.split(', ');
      expect([...told].sort(), lines[i]).toEqual(ranBetween(since.t, t, by).sort());
    }
    await page.locator('.written .line small').first().click();
    expect(await page.evaluate(() => klpemuPage.view.moment)).toBe(last.t);
  });

  it('goes from event to event, zooms and looks for names by the keyboard', async () => {
    const state = () => page.evaluate(() => ({ ...klpemuPage.view }));
    await page.keyboard.press('0');
    await page.locator('canvas').focus();
    await page.evaluate(() => klpemuPage.select(0));
    await page.keyboard.press('n');
    const first = await state();
    expect(first.moment).toBe(
      Math.min(...['printk', 'poke'].flatMap((type) => of(type).map(({ t }) => t)).filter((t) => t > 0)),
    );
    await page.keyboard.press('+');
    const near = await state();
    expect(near.to - near.from).toBeCloseTo((first.to - first.from) / 2, -2);
    await page.keyboard.press('/');
    await page.keyboard.type('klpdemo_worker');
    expect(await page.locator('.task').count()).toBeLessThanOrEqual(1);
    await page.keyboard.press('Escape');
    await page.keyboard.press('0');
    await page.locator('input').fill('');
  });

  it('is legible on a narrow screen, and in the dark, and says nothing is wrong', async () => {
    for (const [width, scheme] of [
      [700, 'light'],
      [1400, 'dark'],
    ] as const) {
      const other = await pages.page(file, width, scheme);
      const drawn = await other.evaluate(() => klpemuPage.draw());
      expect(drawn.transitions).toBe(2);
      const overflows = await other.evaluate('document.documentElement.scrollWidth > innerWidth');
      expect(overflows).toBe(false);
      await other.close();
    }
    expect(pages.errors).toEqual([]);
  });

  it('has text of the run as text', async () => {
    const data = readFileSync(file, 'utf8');
    const [, json = ''] = /<script type="application\/json" id="run">([\s\S]*?)<\/script>/.exec(data) ?? [];
    expect(json).not.toContain('<');
    expect(JSON.parse(json)).toMatchObject({ runs: [{ data: { outcome: { ok: true } } }] });
  });

  it('prints on white paper, with the whole log, whatever colours the screen has', async () => {
    const dark = await pages.page(file, 1000, 'dark');
    await dark.evaluate(`addEventListener('beforeprint', () => {
      const canvas = document.querySelector('canvas');
      const pixels = canvas.getContext('2d').getImageData(0, 0, 160, canvas.height).data;
      let [lit, inked] = [0, 0];
      for (let i = 0; i < pixels.length; i += 4) {
        if (pixels[i + 3] < 200) continue;
        if (pixels[i] > 225) lit++;
        if (pixels[i] < 60) inked++;
      }
      globalThis.printed = { lit, inked };
    })`);
    const pdf = await dark.pdf();
    expect(pdf.subarray(0, 5).toString()).toBe('%PDF-');
    const { lit, inked } = (await dark.evaluate('printed')) as { lit: number; inked: number };
    expect(inked).toBeGreaterThan(100);
    expect(lit).toBe(0);
    // Behind it the screen is as it was.
    expect(await dark.evaluate('document.documentElement.hasAttribute("data-printing")')).toBe(false);
    await dark.close();
  });
});
