import { availableParallelism } from 'node:os';
import { defineConfig } from 'vitest/config';
import { NATIVE_FILES, nativeModules } from './test/native_modules.ts';

/** What takes many seconds a file: npm run test:long. */
const long = process.env.KLPEMU_LONG === '1';

/** Which tests a module is in only Vite knows, of what it runs itself: asked for by a watch, by `related`, and by Stryker. */
const followed =
  process.env.STRYKER_MUTATOR_WORKER !== undefined ||
  process.argv.some((arg) => ['--watch', '-w', 'watch', 'related'].includes(arg));

// Node reads a system's certificates each time it starts, which takes it twice as long as all else of that. Tests start hundreds
// of processes, and none asks a server; some of the long ones do.
if (!long) delete process.env.NODE_EXTRA_CA_CERTS;

export default defineConfig({
  plugins: followed ? [] : [nativeModules()],
  test: {
    server: { deps: { external: [NATIVE_FILES] } },
    // What Vite makes of a test file is kept, by what is in it.
    experimental: { fsModuleCache: !followed, fsModuleCachePath: '.cache/vitest' },
    include: [`test/**/${long ? '*.long.test.ts' : '*.test.ts'}`],
    exclude: long ? [] : ['test/**/*.long.test.ts'],
    // Reading the program's modules takes longer than most files: a process goes on with the next file. So no file changes
    // anything for others: the environment, the engine, what a module holds.
    isolate: long,
    globalSetup: ['test/core_built.ts'],
    setupFiles: ['test/property_runs.ts', 'test/bytecode_budget.ts'],
    // Unicorn's engines hold native state: processes end it for certain.
    pool: 'forks',
    // Vitest would leave one CPU idle, half of a small machine; and workers wait for the processes that some tests start.
    maxWorkers: long ? '100%' : Math.ceil(1.5 * availableParallelism()),
    // Only what hangs is to end by the clock: a computer with other work to do is no reason to fail.
    testTimeout: 900_000,
    hookTimeout: 900_000,
    watch: false,
    // For .ci/run, which prints the plain numbers at the end.
    reporters: process.env.KLPEMU_TEST_REPORT ? ['default', 'json'] : ['default'],
    ...(process.env.KLPEMU_TEST_REPORT ? { outputFile: { json: process.env.KLPEMU_TEST_REPORT } } : {}),
  },
});
