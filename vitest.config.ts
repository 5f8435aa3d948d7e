import { defineConfig } from 'vitest/config';

export default defineConfig({
  test: {
    include: ['test/**/*.test.ts'],
    // Each engine reserves address space and holds native state: processes end it for certain.
    pool: 'forks',
    testTimeout: 20_000,
    hookTimeout: 60_000,
    watch: false,
    // For .ci/run, which prints the plain numbers at the end.
    reporters: process.env.KLPEMU_TEST_REPORT ? ['default', 'json'] : ['default'],
    ...(process.env.KLPEMU_TEST_REPORT ? { outputFile: { json: process.env.KLPEMU_TEST_REPORT } } : {}),
  },
});
