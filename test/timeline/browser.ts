// Debian's chromium, without a window, for tests of pages.

import { existsSync } from 'node:fs';
import { type Browser, chromium, type Page } from 'playwright-core';

export const CHROMIUM = ['/usr/bin/chromium', '/usr/bin/chromium-browser', '/usr/bin/google-chrome'].find(
  existsSync,
);

/** Why no page can be opened; undefined where one can. */
export const NO_BROWSER = CHROMIUM === undefined ? 'no chromium here: apt-get install chromium' : undefined;

interface Drawn {
  readonly [what: string]: number;
}
/** What the page offers to programs. */
export interface KlpemuPage {
  draw(): Drawn;
  look(view: { from?: number; to?: number; top?: number }): Drawn;
  select(t: number): void;
  readonly view: { readonly from: number; readonly to: number; readonly moment: number };
}

export class Pages {
  readonly #browser: Browser;
  /** What pages have said was wrong. */
  readonly errors: string[] = [];

  private constructor(browser: Browser) {
    this.#browser = browser;
  }

  static async open(): Promise<Pages> {
    // Root has no sandbox of chromium's; what is opened is a page of ours.
    return new Pages(await chromium.launch({ executablePath: CHROMIUM as string, args: ['--no-sandbox'] }));
  }

  async page(file: string, width = 1400, colorScheme: 'light' | 'dark' = 'light'): Promise<Page> {
    const page = await this.#browser.newPage({ viewport: { width, height: 900 }, colorScheme });
    page.on('pageerror', (error) => this.errors.push(String(error)));
    page.on('console', (message) => this.errors.push(message.text()));
    page.on('request', (request) => {
      if (!request.url().startsWith('file:')) this.errors.push(`asks for ${request.url()}`);
    });
    await page.goto(`file://${file}`);
    return page;
  }

  async close(): Promise<void> {
    await this.#browser.close();
  }
}
