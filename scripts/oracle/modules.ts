// The modules that both machines get: those of fixtures/modules.

import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import type { UnpackedKernel } from '../debian/kernels.ts';
import { ScriptUsageError } from '../errors.ts';
import { ROOT } from '../root.ts';

const FIXTURES = join(ROOT, 'fixtures/modules');

/** The folder of the modules for a kernel. @throws ScriptUsageError where they cannot be built */
export function modulesFor({ release }: UnpackedKernel, _cache: string): string {
  const [first] = readdirSync(FIXTURES).filter((name) => name.endsWith('.ko'));
  // What is checked in was built for one kernel.
  if (readFileSync(join(FIXTURES, first), 'latin1').includes(`vermagic=${release} `)) return FIXTURES;
  throw new ScriptUsageError(`no modules for ${release}: --modules names a folder of them`);
}
