// The program of a page of runs that are over: their data is in the page.

import type { PageFile } from '../page_format.ts';
import { Page } from './page.ts';
import { Run } from './run.ts';

const file = JSON.parse((document.getElementById('run') as HTMLElement).textContent ?? '{}') as PageFile;
const page = new Page(
  file.runs.map(({ label, data }) => ({ label, run: new Run(data) })),
  file,
);
/** For programs that look at the page. */
Object.assign(globalThis, { klpemuPage: page });
