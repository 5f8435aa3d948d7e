// A kernel that was never made ready takes seconds: who looks at a terminal is told why nothing comes, nobody else is.

import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, it, vi } from 'vitest';
import { X86_64 } from '../../src/arch/x86_64/x86_64.ts';
import { openKernel } from '../../src/machine/native/cache.ts';
import { smallImage } from '../vmlinuz/small_image.ts';

let dir: string;
const isTTY = process.stderr.isTTY;
beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), 'klpemu-first-'));
});
afterEach(() => {
  rmSync(dir, { recursive: true });
  process.stderr.isTTY = isTTY;
  vi.restoreAllMocks();
});

/** What is said of a kernel that is opened for the first time: one that cannot be livepatched, so that nothing is kept of it. */
function said(onTerminal: boolean): string {
  const file = join(dir, 'vmlinuz');
  writeFileSync(file, smallImage());
  process.stderr.isTTY = onTerminal;
  let text = '';
  vi.spyOn(process.stderr, 'write').mockImplementation((part) => {
    text += String(part);
    return true;
  });
  expect(() => openKernel(file, X86_64)).toThrow('it cannot be livepatched');
  return text.replace(file, 'FILE');
}

it('is told on a terminal, before the work', () => {
  expect(said(true)).toBe('klpemu: FILE is made ready, once\n');
});

it('is told to no file and no program', () => {
  expect(said(false)).toBe('');
});
