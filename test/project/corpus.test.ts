// The script of the corpus: which packages have a kernel, and what its pages say.

import { describe, expect, it } from 'vitest';
import { comparison, type KernelResults, kernelPage } from '../../scripts/corpus/pages.ts';
import { firstDifference } from '../../scripts/corpus/results.ts';
import { newest } from '../../scripts/debian/kernels.ts';

describe('of the packages in an archive', () => {
  const image = /^linux-image-(\d+\.[\d.]+(?:-\d+)?(?:\+deb\d+)?-amd64)$/;
  const names = [
    'linux-image-6.1.0-9-amd64',
    'linux-image-6.1.0-56-amd64',
    'linux-image-6.1.0-57-cloud-amd64',
    'linux-image-6.1.0-58-rt-amd64',
    'linux-image-6.1.0-59-amd64-dbg',
    'linux-image-6.12.9+deb13-amd64',
    'linux-image-6.12.117+deb13-amd64',
    'linux-image-amd64',
  ];

  it.each([
    ['6.1', 'linux-image-6.1.0-56-amd64'],
    ['6.12', 'linux-image-6.12.117+deb13-amd64'],
  ])('those of %s are %s, the latest by its numbers', (version, name) => {
    expect(newest(version, names, image)).toBe(name);
    expect(newest(version, [...names].reverse(), image)).toBe(name);
  });

  it('there may be none of a version', () => {
    expect(newest('6.18', names, image)).toBeUndefined();
    expect(newest('6', names, image)).toBe('linux-image-6.12.117+deb13-amd64');
  });
});

describe('a run that is held against the one before', () => {
  const objects = (right: number, ms: number) => ({
    summary: { right, ms, cpuMs: ms, peakMemory: ms },
    objects: [{ file: 'a.ko', ms, check: { right } }],
  });

  it('is the same whatever its times and its memory are', () => {
    expect(firstDifference(objects(7, 1), objects(7, 2))).toBeUndefined();
  });

  it('is another where any answer is, which is named', () => {
    expect(firstDifference(objects(7, 1), objects(8, 1))).toBe('summary.right');
    const other = { ...objects(7, 1), objects: [...objects(7, 1).objects, { file: 'b.ko' }] };
    expect(firstDifference(objects(7, 1), other)).toBe('objects.1');
    expect(firstDifference(other, objects(7, 1))).toBe('objects.1');
    expect(firstDifference({ objects: [{ file: 'a.ko' }] }, { objects: [{ file: 'b.ko' }] })).toBe(
      'objects.0.file',
    );
  });
});

const proof = { truth: '', ours: 'right', theirs: 'no answer' };
const difference = { section: '.text', ours: '', theirs: '', class: 'open', reason: 'two answers', proof };
const counts = { functions: 2, instructions: 20, ms: 1500, cpuMs: 1200, peakMemory: 2 ** 20 };

/** Results as the commands print them, of one object. */
function resultsOf(version: string, file: string, place: string): KernelResults {
  const sums = { objects: 1, failed: 0, entries: 4, compared: 1, same: 0, functionsCompared: 2 };
  const same = { functionsSame: 1, instructionsCompared: 20, instructionsSame: 19 };
  return {
    version,
    kernel: { packages: ['linux-image_1.deb'], release: '1-amd64' },
    node: 'v20',
    cores: 2,
    modules: {
      orc: {
        summary: { ...counts, ...sums, ...same, classes: { open: 1 } } as never,
        objects: [
          {
            file,
            format: { format: '6.4', by: 'header' },
            agreement: { differences: [{ ...difference, place }], omitted: 0 },
          },
        ],
      },
    },
    image: {},
  };
}

describe('a page of the corpus', () => {
  it('says why tables differ where that is known, and that nobody knows where it is not', () => {
    const known = kernelPage(resultsOf('6.12', '/m/vmwgfx.ko.xz', 'vmw_send_msg+0x12'));
    expect(known).toMatch(
      /- vmwgfx\.ko\.xz: `vmw_send_msg`: open \(two answers\)\. Execution: ours right, theirs no answer/,
    );
    expect(known).not.toContain('Not explained.');
    const unknown = kernelPage(resultsOf('6.12', '/m/other.ko', 'vmw_send_msg+0x12'));
    expect(unknown).toContain('`vmw_send_msg`: open (two answers)');
    expect(unknown).toContain('Not explained.');
  });

  it('takes for an overridden weak function only what has lost its symbol, in an image with words of its own', () => {
    const page = (file: string, reason: string): string => {
      const results = resultsOf('7.3', file, '.text+0x10+0x0');
      const [object] = results.modules.orc?.objects ?? [];
      Object.assign(object.agreement?.differences[0] ?? {}, { reason });
      return kernelPage(results);
    };
    const lost = 'no entry for the whole function: it has lost its symbol, as weak ones do';
    expect(page('kvm.ko', lost)).toContain('A weak function that another one overrides');
    expect(page('kvm.ko', 'two answers')).toContain('Not explained.');
    expect(page('vmlinuz', lost)).toContain(
      'A weak function that another one overrides, or what was split off',
    );
    expect(page('vmlinuz', 'two answers')).toContain('Not explained.');
  });

  it('says of what was not looked at that it was not', () => {
    expect(kernelPage(resultsOf('6.12', 'a.ko', 'f+0x1'))).toMatch(/## The image\n\nNot looked at\.\n$/);
  });

  it('is the same for the same results, and the comparison has a column a kernel', () => {
    const [a, b] = ['6.1', '7.3'].map((version) => resultsOf(version, 'a.ko', 'f+0x1'));
    expect(kernelPage(a)).toBe(kernelPage(structuredClone(a)));
    const table = comparison([a, b]);
    expect(table).toContain('| [6.1](corpus/6.1.md) | [7.3](corpus/7.3.md) |');
    expect(table).toContain('| instructions | 20 | 20 |');
    // Times stand behind what a second run has again.
    expect(table.indexOf('| time |')).toBeGreaterThan(table.indexOf('functions that differ: open'));
  });
});
