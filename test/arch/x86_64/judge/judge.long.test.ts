// Every form of instruction from 300 states, sequences of them, functions of the fixtures' modules; `node scripts/run.mjs judge` takes 2,000, some ten minutes.

import { fileURLToPath } from 'node:url';
import { expect, it } from 'vitest';
import { NO_UNICORN } from '../../../guest/unicorn_there.ts';
import { FORMS } from './forms.ts';
import { judgeFunctions, modulesIn } from './functions_main.ts';
import { judgeForms, judgeSequences, type Result } from './session.ts';

it('executes every form as its judges do, but where it is known who is right', async () => {
  const open: (string | undefined)[] = [];
  let judged = 0;
  await judgeForms(FORMS, 'core', 300, ({ executed, unicorn, host }: Result) => {
    if (executed) judged++;
    if (executed && unicorn.open + host.open > 0) open.push(unicorn.first ?? host.first);
  });
  expect(open).toEqual([]);
  expect(judged).toBeGreaterThan(2500);
});

it('executes sequences of instructions as its judges do', async () => {
  const open: (string | undefined)[] = [];
  await judgeSequences(20_000, ({ unicorn, host }) => open.push(unicorn.first, host.first));
  expect(open.filter(Boolean)).toEqual([]);
});

it.skipIf(NO_UNICORN)('executes functions of modules as Unicorn does', () => {
  const modules = fileURLToPath(new URL('../../../../fixtures/modules/', import.meta.url));
  const { differences, states } = judgeFunctions(modulesIn(modules), 60);
  expect(differences).toEqual([]);
  expect(states).toBeGreaterThan(10_000);
});
