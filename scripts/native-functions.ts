// Which functions of a real kernel run natively and which are hosted: docs/native-functions.md.
//
//   node scripts/run.mjs native-functions 6.1|6.12|7.3|FILE|RELEASE
//
// The machine itself is asked (src/machine/native/hosted.ts); nothing is written down by hand.

import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { X86_64 } from '../src/arch/x86_64/x86_64.ts';
import { loadRealImage } from '../src/machine/boot/image.ts';
import { openKernel } from '../src/machine/native/cache.ts';
import { functionsPage } from '../src/machine/native/page.ts';
import { namedKernel } from './debian/booted.ts';
import { ScriptUsageError } from './errors.ts';
import { ROOT } from './root.ts';

export async function main([kernel]: readonly string[]): Promise<void> {
  if (kernel === undefined)
    throw new ScriptUsageError('usage: node scripts/run.mjs native-functions SERIES|FILE|RELEASE');
  const image = await loadRealImage(
    openKernel(namedKernel(kernel, join(ROOT, '.cache/kernels')), X86_64),
    X86_64,
    'orc',
  );
  const file = join(ROOT, 'docs/native-functions.md');
  writeFileSync(file, functionsPage(image));
  console.log(file);
}
