// What `npm run demo`, `npm test`, `npm run bench` and others run: sees to all that is missing, builds, and starts the
// one asked for.
//
//   node scripts/run.mjs with-setup demo|test|bench|sequences|conformance|corpus|behaviour|fuzz|unwinders|oracle|modules|planted|pairs [ARGUMENT...]
//
// Every step is skipped when its result exists.

import { spawnSync } from 'node:child_process';
import { existsSync, readdirSync } from 'node:fs';
import { delimiter, join } from 'node:path';
import {
  UNICORN_WAYS,
  unicornCandidates,
  unicornMissingMessage,
} from '../src/arch/x86_64/unicorn/unicorn_library.ts';
import { build, buildProgram } from './build.ts';
import { ScriptUsageError } from './errors.ts';
import { ROOT } from './root.ts';
import { capture, log } from './setup/run.ts';
import { ensureUnicorn, probeUnicorn, type UsableUnicorn } from './setup/unicorn.ts';

/** Lists of arguments for Node, or nothing where it is done. */
type Target = (args: readonly string[]) => Promise<string[][]>;

const script =
  (name: string): Target =>
  async (args) => [['scripts/run.mjs', name, ...args]];
const program =
  (source: string): Target =>
  async (args) => [[await buildProgram(source), ...args]];

/** What each target runs. */
const TARGETS: Readonly<Record<string, Target>> = {
  demo: async (args) => [['dist/cli/main.js', 'demo', ...args]],
  test: async (args) => [['node_modules/vitest/vitest.mjs', 'run', ...args]],
  planted: script('planted'),
  pairs: script('pairs'),
  // Not in a process of its own, whose start takes as long as a test.
  conformance: async (args) => {
    const { main } = await import('./conformance.ts');
    await main(args);
    return [];
  },
  corpus: script('corpus'),
  behaviour: script('behaviour/main'),
  unwinders: script('unwinders'),
  oracle: script('oracle'),
  modules: script('modules'),
  sequences: program('test/properties/sequences_main.ts'),
  fuzz: program('test/fuzz/fuzz_main.ts'),
  // Each benchmark named, or all, in a process of its own; options go to each.
  bench: async (args) => {
    const names = args.filter((arg) => !arg.startsWith('-'));
    const options = args.filter((arg) => arg.startsWith('-'));
    const wanted = names.length ? names : benchmarks();
    return Promise.all(wanted.map(async (name) => [await buildProgram(`bench/${name}.ts`), ...options]));
  },
};

export async function main([name = '', ...args]: readonly string[]): Promise<void> {
  const target = TARGETS[name];
  if (!target) {
    throw new ScriptUsageError(
      `usage: node scripts/run.mjs with-setup ${Object.keys(TARGETS).join('|')} [ARGUMENT...]`,
    );
  }
  if (asksForUnicorn(args)) {
    const library = await unicorn();
    // The programs would try the one that does not fit again, and tell it again.
    if (library.afterMisfit) process.env.KLPEMU_UNICORN = library.path;
    else if (library.from !== 'system') log(`Unicorn library: ${library.path} (version ${library.version})`);
  }
  await build();
  for (const argv of await target(args)) {
    const { status, error } = spawnSync(process.execPath, argv, { cwd: ROOT, stdio: 'inherit' });
    if (error) throw error;
    if (status !== 0) process.exitCode = status ?? 1;
  }
}

/** Nothing else needs the library; tests and benchmarks of it leave themselves out where there is none. */
function asksForUnicorn(args: readonly string[]): boolean {
  const named = args.some(
    (arg, i) => arg === '--engine=unicorn' || (arg === '--engine' && args[i + 1] === 'unicorn'),
  );
  return named || process.env.KLPEMU_ENGINE === 'unicorn';
}

async function unicorn(): Promise<UsableUnicorn> {
  const probe = await buildProgram('src/arch/x86_64/unicorn/unicorn_probe.ts');
  return ensureUnicorn(ROOT, {
    candidates: unicornCandidates,
    probe: (path) => probeUnicorn(probe, path),
    missingMessage: unicornMissingMessage,
    ways: UNICORN_WAYS,
    capture,
    log,
    isRoot: process.getuid?.() === 0,
    hasApt: onPath('apt-get') && onPath('apt-cache') && onPath('dpkg-deb'),
  });
}

function benchmarks(): string[] {
  const names = readdirSync(join(ROOT, 'bench')).filter((name) => name.endsWith('.ts'));
  return names.map((name) => name.slice(0, -'.ts'.length)).sort();
}

function onPath(program: string): boolean {
  return (process.env.PATH ?? '').split(delimiter).some((dir) => dir && existsSync(join(dir, program)));
}
