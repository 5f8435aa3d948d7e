import { defineConfig } from 'vitest/config';

/**
 * Each file has a process of its own there: it goes by the engine or the environment that it sets, or compares what a
 * process leaves. Elsewhere a process goes on with the next file, and the program's modules are read once.
 */
const OWN_PROCESS = ['arch', 'cli', 'project', 'properties', 'scenario'].map((folder) => `test/${folder}/**`);

/** What takes many seconds a file: npm run test:long. */
const long = process.env.KLPEMU_LONG === '1';

const pattern = long ? '*.long.test.ts' : '*.test.ts';
const include = [`test/**/${pattern}`];
const exclude = long ? [] : ['test/**/*.long.test.ts'];

export default defineConfig({
  test: {
    projects: [
      {
        extends: true,
        test: { name: 'shared', include, exclude: [...exclude, ...OWN_PROCESS], isolate: long },
      },
      {
        extends: true,
        test: { name: 'own', include: OWN_PROCESS.map((folder) => `${folder}/${pattern}`), exclude },
      },
    ],
    globalSetup: ['test/core_built.ts'],
    setupFiles: ['test/property_runs.ts'],
    // Unicorn's engines hold native state: processes end it for certain.
    pool: 'forks',
    // Vitest would leave one CPU idle, half of a small machine.
    maxWorkers: '100%',
    // Only what hangs is to end by the clock: a computer with other work to do is no reason to fail.
    testTimeout: 900_000,
    hookTimeout: 900_000,
    watch: false,
    // For .ci/run, which prints the plain numbers at the end.
    reporters: process.env.KLPEMU_TEST_REPORT ? ['default', 'json'] : ['default'],
    ...(process.env.KLPEMU_TEST_REPORT ? { outputFile: { json: process.env.KLPEMU_TEST_REPORT } } : {}),
  },
});
