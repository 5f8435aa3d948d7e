// Before each test file: how many random cases the properties try, where KLPEMU_PROPERTY_RUNS says so.
// A property that fails prints the seed and the path that repeat it.

import * as fc from 'fast-check';

const runs = Number(process.env.KLPEMU_PROPERTY_RUNS ?? 0);
if (runs > 0)
  fc.configureGlobal({ ...fc.readConfigureGlobal(), numRuns: runs, interruptAfterTimeLimit: 200_000 });
