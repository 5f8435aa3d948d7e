// Every form of instruction from 300 states; `node scripts/run.mjs judge` takes 2,000, some ten minutes.

import { expect, it } from 'vitest';
import { FORMS } from './forms.ts';
import { judgeForms, type Result } from './session.ts';

it('executes every form as its judges do, but where it is known who is right', async () => {
  const open: (string | undefined)[] = [];
  let judged = 0;
  await judgeForms(FORMS, 'core', 300, ({ executed, unicorn, host }: Result) => {
    if (executed) judged++;
    if (executed && unicorn.open + host.open > 0) open.push(unicorn.first ?? host.first);
  });
  expect(open).toEqual([]);
  expect(judged).toBeGreaterThan(1200);
});
