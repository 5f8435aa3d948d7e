// Which word was meant by an unknown one.

import { describe, expect, it } from 'vitest';
import { nearest } from '../../src/kernel/nearest.ts';

describe('the nearest word', () => {
  it.each([
    ['laod', 'load'],
    ['readr', 'reader'],
    ['mymod_computee', 'mymod_compute'],
    ['moprobe', 'modprobe'],
    ['lod', 'load'],
  ])('of %s is %s: a letter swapped, missing, wrong or too many', (word, meant) => {
    expect(nearest(word, ['unload', 'load', 'reader', 'rmmod', 'mymod_compute', 'modprobe'])).toBe(meant);
  });

  it('is none where nothing is near', () => {
    expect(nearest('emacs', ['load', 'reader'])).toBeUndefined();
    expect(nearest('xy', ['ab', 'wx'])).toBeUndefined();
  });
});
