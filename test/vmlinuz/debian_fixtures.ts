// The modules of fixtures/modules as kbuild makes them with the headers and compiler of Debian's kernels, for the long tests.
// They are built once, in .cache/oracle. Where headers cannot be fetched or nothing can be built here, that is said;
// a build that fails fails the test.

import { join } from 'node:path';
import type { BootedVersion } from '../../scripts/debian/booted.ts';
import { UnavailableError } from '../../scripts/errors.ts';
import { modulesFor } from '../../scripts/oracle/modules.ts';

const CACHE = join(import.meta.dirname, '../../.cache/oracle');

/** @throws ScriptError for a build that fails */
export function fixturesFor(series: BootedVersion): { readonly folder: string } | { readonly why: string } {
  try {
    return { folder: modulesFor(series, CACHE) };
  } catch (error) {
    if (!(error instanceof UnavailableError)) throw error;
    return { why: `modules for Debian's ${series} cannot be built here: ${error.message}` };
  }
}
