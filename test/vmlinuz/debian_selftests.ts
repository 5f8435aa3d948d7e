// Debian's kernels with the modules of their own livepatch selftests, for the long tests: fetched and built once, in
// .cache/conformance, as for `npm run conformance -- --kernel`. Nothing of them enters the repository.

import { join } from 'node:path';
import { ensureKernelSources } from '../../scripts/conformance/sources.ts';
import type { BootedVersion } from '../../scripts/debian/booted.ts';
import { UnavailableError } from '../../scripts/errors.ts';
import { run } from '../../scripts/setup/run.ts';

const CACHE = join(import.meta.dirname, '../../.cache');

interface Selftests {
  readonly image: string;
  /** The folder of the .ko files. */
  readonly modules: string;
}

/** @throws ScriptError for a build that fails */
export function selftestsOf(series: BootedVersion): Selftests | { readonly why: string } {
  const log = (line: string): void => console.error(line);
  try {
    return ensureKernelSources(join(CACHE, 'conformance'), join(CACHE, 'kernels'), series, { run, log });
  } catch (error) {
    if (!(error instanceof UnavailableError)) throw error;
    return { why: `the selftests of Debian's ${series} cannot be built here: ${error.message}` };
  }
}
