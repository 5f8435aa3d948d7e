// A kernel that a script is given by the name of its series, from the folder that KLPEMU_KERNELS names.

import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { namedKernel } from '../../scripts/debian/booted.ts';
import { DEBIAN_KERNELS } from './debian_kernels.ts';

const given = process.env.KLPEMU_KERNELS;
let folder: string;

beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'klpemu-kernels-'));
  process.env.KLPEMU_KERNELS = folder;
});
afterAll(() => {
  rmSync(folder, { recursive: true });
  if (given === undefined) delete process.env.KLPEMU_KERNELS;
  else process.env.KLPEMU_KERNELS = given;
});

const put = (path: string): string => {
  mkdirSync(dirname(join(folder, path)), { recursive: true });
  writeFileSync(join(folder, path), '');
  return join(folder, path);
};

it('is found as its package has it, in the folder or in one a series', () => {
  const image = put(`boot/vmlinuz-${DEBIAN_KERNELS['6.1'].release}`);
  expect(namedKernel('6.1', join(folder, 'none'))).toBe(image);
  const later = put(`7.3/usr/lib/modules/${DEBIAN_KERNELS['7.3'].release}/vmlinuz`);
  expect(namedKernel('7.3', join(folder, 'none'))).toBe(later);
});

it.each(['/boot/vmlinuz-6.1', '6.1.0-56-amd64', '5.10', 'toString'])('%s stays what it is', (name) => {
  expect(namedKernel(name, join(folder, 'none'))).toBe(name);
});
