// klpemu serve in a real browser: what is typed at the prompt, seen in the picture beside it.

import type { ChildProcess } from 'node:child_process';
import { type Browser, chromium, type Page } from 'playwright-core';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { LiveState } from '../../src/timeline/live_format.ts';
import { Cli } from '../cli/klpemu.ts';
import { CHROMIUM, type KlpemuPage, NO_BROWSER } from './browser.ts';

declare const klpemuPage: KlpemuPage;
declare const klpemuLive: { readonly state?: LiveState; readonly page?: object };

describe.skipIf(NO_BROWSER)(`the page of a live machine${NO_BROWSER ? ` (${NO_BROWSER})` : ''}`, () => {
  let cli: Cli;
  let child: ChildProcess;
  let browser: Browser;
  let page: Page;
  let address: string;
  const errors: string[] = [];

  async function opened(): Promise<Page> {
    const made = await browser.newPage({ viewport: { width: 1400, height: 1000 } });
    // It is the test that ends what never comes.
    made.setDefaultTimeout(0);
    made.on('pageerror', (error) => errors.push(String(error)));
    made.on('console', (message) => errors.push(message.text()));
    made.on('request', (request) => {
      if (!request.url().startsWith(address)) errors.push(`asks for ${request.url()}`);
    });
    await made.goto(address);
    await made.waitForFunction(() => klpemuLive.page !== undefined);
    return made;
  }

  beforeAll(async () => {
    cli = new Cli();
    ({ child } = cli.start(['serve']));
    address = String(await new Promise((resolve) => child.stdout?.once('data', resolve))).trim();
    browser = await chromium.launch({ executablePath: CHROMIUM as string, args: ['--no-sandbox'] });
    page = await opened();
  });
  afterAll(async () => {
    await browser?.close();
    child?.kill('SIGKILL');
    cli.remove();
  });

  const state = (of = page) => of.evaluate(() => klpemuLive.state as LiveState);
  async function type(line: string): Promise<void> {
    await page.locator('form input').click();
    await page.keyboard.type(line);
    await page.keyboard.press('Enter');
  }
  const mode = (wanted: LiveState['mode']) =>
    page.waitForFunction((each) => klpemuLive.state?.mode === each, wanted);
  const says = (where: string, text: string) =>
    page.locator(where, { hasText: text }).waitFor({ state: 'attached' });
  const output = () => page.locator('.output').innerText();

  it('shows tasks switch as it happens, with nothing done but a livepatch loaded at the prompt', async () => {
    await type('modprobe klpdemo_target hold_ms=2000 period_ms=100');
    await page.waitForFunction(() => klpemuPage.draw().log > 0);
    await type('modprobe klpdemo_patch_target');
    await page.waitForFunction(() => klpemuPage.draw().switches > 3);
    // The worker sleeps in what is replaced: it is the last.
    await page.waitForFunction(() => klpemuPage.draw().blocked > 0);
    const { switches, transitions } = await page.evaluate(() => klpemuPage.draw());
    expect(transitions).toBe(1);
    expect(await page.locator('.task[data-pid="1"] .state').textContent()).toBe('patched');
    await page.waitForFunction((before) => klpemuPage.draw().switches > before, switches);
    await says('.log', 'patching complete');
    expect((await state()).mode).toBe('playing');
  });

  it('pauses by a word and plays by a button; its time stands still in between', async () => {
    await type('pause');
    await mode('paused');
    const before = await state();
    await new Promise((resolve) => setTimeout(resolve, 200));
    expect(await state()).toEqual(before);
    expect(await page.locator('.cpus').textContent()).toContain('CPU 0');
    await page.locator('button', { hasText: /^play$/ }).click();
    await page.waitForFunction((now) => (klpemuLive.state?.now ?? 0) > now, before.now);
  });

  it('steps by the keyboard, an instruction at a time', async () => {
    await page.keyboard.press('Escape');
    await page.locator('canvas').focus();
    await page.keyboard.press(' ');
    await mode('paused');
    const { instructions } = await state();
    for (let i = 1; i <= 3; i++) {
      await page.keyboard.press('s');
      await page.waitForFunction((to) => klpemuLive.state?.instructions === to, instructions + i);
    }
    await page.keyboard.press('e');
    await page.waitForFunction((from) => (klpemuLive.state?.instructions ?? 0) > from, instructions + 3);
    await mode('paused');
  });

  it('goes back to a moment that is clicked, before the livepatch was enabled, and another history begins', async () => {
    const begun = await page.evaluate(() => {
      const { from, to } = klpemuPage.view;
      return { from, to };
    });
    const { x, y, width } = (await page.locator('canvas').boundingBox()) as {
      x: number;
      y: number;
      width: number;
    };
    // Where the first tenth of the run ends: names of lanes take 170 pixels.
    await page.mouse.click(x + 170 + (width - 170) * 0.02, y + 100);
    const moment = await page.evaluate(() => klpemuPage.view.moment);
    expect(moment).toBeLessThan(begun.to / 10);
    await page.getByRole('button', { name: 'back to the moment' }).click();
    await page.waitForFunction(
      (t) => klpemuLive.state?.mode === 'paused' && klpemuLive.state.now < t + 5e6,
      moment,
    );
    await page.waitForFunction(() => klpemuPage.draw().transitions === 0);
    expect((await state()).now).toBeGreaterThanOrEqual(moment);
    expect(await output()).toContain('of what was typed is forgotten');
    await type('cat /proc/modules');
    await mode('paused');
    await type('play');
    await mode('playing');
  });

  it('completes what is typed, and knows what was typed before', async () => {
    const input = page.locator('form input');
    await input.fill('modpr');
    await page.keyboard.press('Tab');
    while ((await input.inputValue()) !== 'modprobe ') await page.waitForTimeout(20);
    await page.keyboard.press('Escape');
    await input.fill('');
    await input.focus();
    await page.keyboard.press('ArrowUp');
    expect(await input.inputValue()).toBe('play');
    await page.keyboard.press('ArrowUp');
    expect(await input.inputValue()).toBe('cat /proc/modules');
    await input.fill('');
  });

  it('is the same for who comes later, on a narrow screen and in the dark, too', async () => {
    await type('pause');
    await mode('paused');
    const other = await opened();
    await other.emulateMedia({ colorScheme: 'dark' });
    await other.setViewportSize({ width: 700, height: 900 });
    await other.waitForFunction(() => klpemuLive.state?.mode === 'paused');
    expect(await state(other)).toEqual(await state());
    expect(await other.evaluate(() => klpemuPage.look({ top: 0 }).runs)).toBeGreaterThan(0);
    expect(await other.evaluate('document.documentElement.scrollWidth > innerWidth')).toBe(false);
    await other.close();
  });

  it('has what a guest says as text', async () => {
    await type('echo "<img src=x onerror=document.title=1><b>bold</b>"');
    await says('.output', '<b>bold</b>');
    expect(await page.locator('.output b, .output img').count()).toBe(0);
  });

  it('cannot be spoken to by a page of another origin', async () => {
    const stranger = await browser.newPage();
    await stranger.goto('data:text/html,<title>stranger</title>');
    const { instructions } = await state();
    const answers = await stranger.evaluate(async (to) => {
      const tried = [
        fetch(`${to}ask`, { method: 'POST', body: '{"do":"step","count":1}', mode: 'no-cors' }),
        fetch(`${to}ask`, {
          method: 'POST',
          headers: { 'Content-Type': 'application/json' },
          body: '{"do":"step","count":1}',
        }),
        fetch(`${to}stream`).then((response) => response.text()),
      ];
      return Promise.all(
        tried.map((each) =>
          each.then(
            (answer) => (typeof answer === 'string' ? answer : answer.type),
            () => 'failed',
          ),
        ),
      );
    }, address);
    // An opaque answer is one that nobody can read.
    expect(answers.every((each) => each === 'failed' || each === 'opaque')).toBe(true);
    expect((await state()).instructions).toBe(instructions);
    await stranger.close();
  });

  it('says when the machine is gone, and that nothing was wrong before', async () => {
    expect(errors).toEqual([]);
    child.kill('SIGINT');
    await says('.status', 'the machine is gone');
  });
});
