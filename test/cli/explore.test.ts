// klpemu explore as a user starts it.

import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { Cli } from './klpemu.ts';

const GAP = 'fixtures/scenarios/explore_gap.yaml';
const SMALLEST = 'fixtures/scenarios/smallest.yaml';

let cli: Cli;
beforeAll(() => {
  cli = new Cli();
});
afterAll(() => cli.remove());

const json = (...args: string[]) => {
  const { status, stdout } = cli.run(['explore', ...args, '--json']);
  return { status, report: JSON.parse(stdout) };
};

describe('klpemu explore', () => {
  it('looks at all there is of a small scenario, and exits with 0', () => {
    const { status, report } = json(SMALLEST, '--searcher', 'bounded', '--preemptions', '1', '--time', '10m');
    expect(report).toMatchObject({ complete: true, known: {}, depth: 1 });
    // Two things at each of its points.
    expect((report.schedules + report.leftOut) % 2).toBe(0);
    expect(report.schedules).toBeGreaterThan(10);
    expect(status).toBe(0);
  });

  it('exits with 1 and a schedule when something is found, which run then shows', () => {
    const found = json(GAP, '--searcher', 'pct', '--seed', '1', '--time', '30m');
    expect(found.status).toBe(1);
    expect(found.report.found.problems[0].kind).toBe('gap');
    const { schedule } = found.report.found;
    const replayed = cli.run(['explore', GAP, '--searcher', 'replay', '--schedule', schedule]);
    expect(replayed.status).toBe(1);
    expect(replayed.stdout).toContain(`klpemu run ${GAP} --schedule ${schedule}`);
    expect(replayed.stdout).toMatch(/^ {2}CPU 0 +CPU 1$/m);
    expect(replayed.stdout).toMatch(/\*\*\* reader:\d+ enters klpdemo_new_cmdline_proc_show/);
    expect(cli.run(['run', GAP, '--schedule', schedule]).stdout).toContain("the kernel's own gap");
  });

  it('says that not all was looked at, and goes on from what it has left in a file', () => {
    const state = join(cli.dir, 'state');
    const args = [
      GAP,
      '--searcher',
      'bounded',
      '--known',
      'gap',
      '--time',
      '1s',
      '--threads',
      '1',
      '--state',
      state,
    ];
    const first = json(...args);
    expect(first).toMatchObject({ status: 4, report: { complete: false } });
    expect(existsSync(state)).toBe(true);
    const left = JSON.parse(readFileSync(state, 'utf8'));
    expect(left.schedules).toBe(first.report.schedules);
    writeFileSync(state, JSON.stringify({ ...left, schedules: 1000 }));
    expect(json(...args).report.schedules).toBeGreaterThanOrEqual(1000);
    const other = cli.run(['explore', ...args, '--preemptions', '3']);
    expect(other).toMatchObject({
      status: 2,
      stderr: expect.stringContaining('of another scenario, or of other options'),
    });
  });

  it.each([
    [['--searcher', 'replay'], /replay needs one/],
    [['--schedule', 'q'], /--schedule goes with --searcher replay/],
    [['--known', 'nonsense'], /There are gap, hole/],
    [['--time', '1ms'], /at least a second/],
  ])('refuses %j', (args, reason) => {
    const { status, stderr } = cli.run(['explore', GAP, ...args]);
    expect(stderr).toMatch(reason);
    expect(status).toBe(2);
  });
});
