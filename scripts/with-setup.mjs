// What `npm run demo`, `npm test`,
// `npm run bench` and `npm run conformance` run: sees to all that is missing, builds, and starts the one asked for.
//
//   node scripts/with-setup.mjs demo|test|bench|conformance|corpus|behaviour|fuzz [ARGUMENT...]
//
// Uses nothing but Node itself until the npm packages are there. Every step is skipped when its result exists.

import { spawnSync } from 'node:child_process';
import { existsSync, readdirSync } from 'node:fs';
import { delimiter, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { ensurePackages } from './setup/npm_packages.mjs';
import { capture, run } from './setup/run.mjs';
import { ensureUnicorn, probeUnicorn } from './setup/unicorn.mjs';

const root = fileURLToPath(new URL('..', import.meta.url));
const log = (line) => console.error(`klpemu: ${line}`);

/** What each target runs, as lists of arguments for Node. */
const TARGETS = {
  demo: (args) => [['dist/cli/main.js', 'demo', ...args]],
  test: (args) => [['node_modules/vitest/vitest.mjs', 'run', ...args]],
  conformance: (args) => [['scripts/conformance.mjs', ...args]],
  corpus: (args) => [['scripts/corpus.mjs', ...args]],
  sequences: async (args, buildProgram) => [
    [await buildProgram('test/properties/sequences_main.ts'), ...args],
  ],
  behaviour: async (args, buildProgram) => [[await buildProgram('scripts/behaviour/main.ts'), ...args]],
  fuzz: async (args, buildProgram) => [[await buildProgram('test/fuzz/fuzz_main.ts'), ...args]],
  // Each benchmark named, or all, in a process of its own; options go to each.
  bench: async (args, buildProgram) => {
    const names = args.filter((arg) => !arg.startsWith('-'));
    const options = args.filter((arg) => arg.startsWith('-'));
    const wanted = names.length ? names : benchmarks();
    return Promise.all(wanted.map(async (name) => [await buildProgram(`bench/${name}.ts`), ...options]));
  },
};

async function main([target, ...args]) {
  const command = TARGETS[target];
  if (!command) {
    throw new Error(`usage: node scripts/with-setup.mjs ${Object.keys(TARGETS).join('|')} [ARGUMENT...]`);
  }
  requireNode();
  ensurePackages(root, { run, log });
  const { build, buildProgram, loadSource } = await import('./build.mjs');
  const library = await unicorn(buildProgram, loadSource);
  // The programs would try the one that does not fit again, and tell it again.
  if (library.afterMisfit) process.env.KLPEMU_UNICORN = library.path;
  else if (library.from !== 'system') log(`Unicorn library: ${library.path} (version ${library.version})`);
  await build();
  for (const argv of await command(args, buildProgram)) {
    const { status, error } = spawnSync(process.execPath, argv, { cwd: root, stdio: 'inherit' });
    if (error) throw error;
    if (status !== 0) process.exitCode = status ?? 1;
  }
}

async function unicorn(buildProgram, loadSource) {
  const finder = await loadSource('src/arch/x86_64/unicorn/unicorn_library.ts');
  const probe = await buildProgram('src/arch/x86_64/unicorn/unicorn_probe.ts');
  return ensureUnicorn(root, {
    candidates: finder.unicornCandidates,
    probe: (path) => probeUnicorn(probe, path),
    missingMessage: finder.unicornMissingMessage,
    ways: finder.UNICORN_WAYS,
    capture,
    log,
    isRoot: process.getuid?.() === 0,
    hasApt: onPath('apt-get') && onPath('apt-cache') && onPath('dpkg-deb'),
  });
}

function benchmarks() {
  const names = readdirSync(join(root, 'bench')).filter((name) => name.endsWith('.ts'));
  return names.map((name) => name.slice(0, -'.ts'.length)).sort();
}

function requireNode() {
  const major = Number(process.versions.node.split('.')[0]);
  if (major < 20) throw new Error(`Node 20 or later is needed, this is ${process.version}`);
}

function onPath(program) {
  return (process.env.PATH ?? '').split(delimiter).some((dir) => dir && existsSync(join(dir, program)));
}

main(process.argv.slice(2)).catch((error) => {
  log(error.message);
  process.exitCode = 1;
});
