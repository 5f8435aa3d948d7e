// A few of the sequences that `npm run sequences` runs by the thousand, and those that once went wrong.

import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { runSequence, type Sequence, sequence } from './sequences.ts';

describe('random sequences of operations', () => {
  it('leave nothing behind, and break no rule on the way', async () => {
    const property = fc.asyncProperty(sequence, async (one) => void (await runSequence(one)));
    await fc.assert(property, {
      seed: 17,
      numRuns: 25,
      unbiased: true,
    });
  });
});

const QUICK = { wait: false } as const;

describe('a patch that is forced while it goes', () => {
  it('leaves its module for ever, and nothing else', async () => {
    const tally = await runSequence({
      seed: 3,
      cpus: 2,
      instructionNs: 10_000,
      steps: [
        { do: 'load', module: 'target', args: 'period_ms=20 hold_ms=10 block=1', wait: true },
        { do: 'pass', ms: 200 },
        { do: 'load', module: 'patch_both', args: 'replace=1', wait: true },
        { do: 'turn', wait: true },
        { do: 'force', wait: true },
        { do: 'spawn', program: 'reader', args: ['/proc/klpdemo', '15'] },
      ],
    });
    expect(tally).toMatchObject({ 'transition reversing': 1, 'transition forcing': 1 });
  });
});

describe('the judges look at', () => {
  const machine = { seed: 5, cpus: 2, instructionNs: 10_000 } as const;
  const settled = { do: 'pass', ms: 3000 } as const;

  it('the shadow variables that a replaced patch left, which are given back when it comes again', async () => {
    const tally = await runSequence({
      ...machine,
      steps: [
        { do: 'load', module: 'patch_shadow', args: '', wait: true },
        settled,
        { do: 'read', path: '/proc/cmdline', wait: true },
        { do: 'load', module: 'patch_both', args: 'replace=1', wait: true },
        settled,
      ],
    });
    expect(tally).toMatchObject({ 'shadows given back': 1, 'transition complete': 5 });
  });

  it('rounds of a target that several patches replace parts of', async () => {
    const tally = await runSequence({
      ...machine,
      steps: [
        { do: 'load', module: 'target', args: '', wait: true },
        { do: 'load', module: 'patch_target', args: '', wait: true },
        settled,
        { do: 'load', module: 'patch_local', args: '', wait: true },
        settled,
        { do: 'read', path: '/proc/klpdemo', wait: true },
      ],
    });
    expect(tally).toMatchObject({ 'transition complete': 4 });
  });
});

describe('sequences that went wrong once', () => {
  const found: readonly [string, Sequence][] = [
    [
      'the same module loaded twice while a disable waits for all tasks to schedule',
      {
        seed: 7,
        cpus: 1,
        instructionNs: 4000,
        steps: [
          { do: 'load', module: 'patch_vmlinux', args: '', wait: true },
          { do: 'load', module: 'patch_sympos', args: '', ...QUICK },
          { do: 'disable', which: 0, ...QUICK },
          { do: 'load', module: 'patch_sympos', args: '', wait: true },
        ],
      },
    ],
    [
      'a write to a patch that goes meanwhile, since it could not be enabled',
      {
        seed: 1,
        cpus: 1,
        instructionNs: 20_000,
        steps: [
          { do: 'read', path: '/proc/klpdemo', ...QUICK },
          { do: 'load', module: 'patch_target', args: '', ...QUICK, fault: { point: 'allocation', nth: 16 } },
          { do: 'load', module: 'target', args: 'period_ms=20 hold_ms=10 work_ms=10 show_ms=10', wait: true },
          { do: 'disable', which: 0, ...QUICK },
          { do: 'read', path: '/proc/meminfo', ...QUICK },
        ],
      },
    ],
    [
      'a child that ends while its parent is killed',
      {
        seed: 197808438,
        cpus: 3,
        instructionNs: 10_000,
        steps: [
          { do: 'spawn', program: 'forker', args: ['20'] },
          { do: 'read', path: '/proc/cmdline', wait: true },
        ],
      },
    ],
    [
      'a thread in the fentry call of a function that has a version already, as the next one comes',
      {
        seed: 1,
        cpus: 1,
        instructionNs: 20_000,
        steps: [
          { do: 'load', module: 'patch_target', args: '', ...QUICK },
          { do: 'load', module: 'target', args: 'period_ms=20 hold_ms=10 work_ms=10 show_ms=10', ...QUICK },
          { do: 'spawn', program: 'forker', args: ['20'] },
          { do: 'load', module: 'patch_both', args: '', wait: true },
          { do: 'unload', which: 0, ...QUICK },
        ],
      },
    ],
    [
      'a thread that was interrupted before the fentry call of such a function',
      {
        seed: 2053516877,
        cpus: 1,
        instructionNs: 20_000,
        steps: [
          { do: 'load', module: 'patch_both', args: 'replace=1', ...QUICK },
          { do: 'load', module: 'target', args: '', wait: true },
          { do: 'load', module: 'patch_target', args: '', wait: true },
          { do: 'spawn', program: 'reader', args: ['/proc/klpdemo', '15'] },
          { do: 'unload', which: 0, wait: true },
          { do: 'spawn', program: 'forker', args: ['20'] },
        ],
      },
    ],
  ];

  it.each(found)('%s', async (_name, one) => {
    await expect(runSequence(one)).resolves.toBeDefined();
  });
});
