// npm run conformance: the kernel's own livepatch selftests on the emulated machine.
//
//   node scripts/run.mjs conformance [--kernel 6.1|6.12|7.3] [machine options of klpemu shell]
//
// With --kernel they are that kernel's own, with modules built against its headers, on its image; without, those of 6.1 on the
// built-in kernel. The test scripts run as they are, but for the places where they reach for their machine (conformance/rewrite.ts); the
// modules are those of lib/livepatch, built by kbuild untouched. Each test compares the kernel log with what it expects.

import { spawn } from 'node:child_process';
import { cpSync, mkdirSync, readdirSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { availableParallelism } from 'node:os';
import { join } from 'node:path';
import { rewrite, testNames } from './conformance/rewrite.ts';
import { ensureKernelSources, ensureSources, type Sources } from './conformance/sources.ts';
import { ScriptUsageError } from './errors.ts';
import { ROOT } from './root.ts';
import { log, run } from './setup/run.ts';

const cache = join(ROOT, '.cache/conformance');
/** Of the kernels that are fetched, with those of the long tests. */
const kernels = join(ROOT, '.cache/kernels');
const cli = join(ROOT, 'dist/cli/main.js');
/** Machines at once, where there are CPUs for them: each runs some of the scripts. */
const MACHINES = 2;

/** What a script does with all functions of a kernel, or with all names: it takes as long as so many tests. */
const LONG_STEPS: readonly { readonly step: RegExp; readonly tests: number }[] = [
  { step: /^trace_function /gm, tests: 4 },
  { step: /\/proc\/kallsyms/g, tests: 2 },
];

interface Script {
  /** Names of its tests. */
  readonly tests: readonly string[];
  /** How long it takes, in tests. */
  readonly length: number;
}

type Expected = ReadonlyMap<string, Script>;

interface TestResult {
  readonly name: string;
  readonly ok: boolean;
  readonly ms: number;
}

interface ScriptResult {
  readonly tests: readonly TestResult[];
  readonly output: string;
  readonly errors: string;
  readonly status: number;
}

export async function main(args: readonly string[]): Promise<void> {
  const { version, rest } = kernelOption(args);
  const { modules, tests, machine } = sources(version);
  const scripts = join(cache, version ?? '', 'scripts');
  const expected = rewriteAll(tests, scripts);
  symlinkSync(modules, join(scripts, 'test_modules'));
  const started = performance.now();
  const shares = share(expected, Math.min(MACHINES, availableParallelism()));
  const results = await Promise.all(
    shares.map((names) =>
      runScripts(['shell', '--pipe', '--dir', modules, ...machine, ...rest], scripts, names),
    ),
  );
  report(expected, new Map(results.flatMap((each) => [...each])), performance.now() - started);
}

/** `--kernel VERSION`, and the other arguments. @throws ScriptUsageError where the version is missing */
function kernelOption(args: readonly string[]): { version: string | undefined; rest: readonly string[] } {
  const at = args.findIndex((arg) => arg === '--kernel' || arg.startsWith('--kernel='));
  if (at < 0) return { version: undefined, rest: args };
  const inOne = args[at].includes('=');
  const version = inOne ? args[at].slice('--kernel='.length) : args[at + 1];
  if (!version) throw new ScriptUsageError('--kernel wants a version: 6.1, 6.12 or 7.3');
  return { version, rest: [...args.slice(0, at), ...args.slice(at + (inOne ? 1 : 2))] };
}

function sources(version: string | undefined): Sources & { readonly machine: readonly string[] } {
  if (version === undefined) return { ...ensureSources(cache, { run, log }), machine: [] };
  const found = ensureKernelSources(cache, kernels, version, { run, log });
  return { ...found, machine: ['--kernel', found.image] };
}

/** Writes the rewritten scripts. */
function rewriteAll(from: string, to: string): Expected {
  rmSync(to, { recursive: true, force: true });
  mkdirSync(to, { recursive: true });
  const expected = new Map<string, Script>();
  const files = readdirSync(from).filter((file) => file.endsWith('.sh'));
  for (const name of files.sort()) {
    const text = readFileSync(join(from, name), 'utf8');
    writeFileSync(join(to, name), rewrite(name, text));
    if (!name.startsWith('test-')) continue;
    const tests = testNames(text);
    expected.set(name, { tests, length: tests.length + longSteps(text) });
  }
  cpSync(join(ROOT, 'scripts/conformance/guest.sh'), join(to, 'guest.sh'));
  return expected;
}

const longSteps = (text: string): number =>
  LONG_STEPS.reduce((sum, { step, tests }) => sum + tests * (text.match(step)?.length ?? 0), 0);

/** Scripts for each machine, about as long for one as for the other; the same ones in each run. */
function share(expected: Expected, machines: number): string[][] {
  const shares = Array.from({ length: machines }, () => ({ names: [] as string[], length: 0 }));
  for (const [name, script] of [...expected].sort((a, b) => b[1].length - a[1].length)) {
    const least = shares.reduce((min, each) => (each.length < min.length ? each : min));
    least.names.push(name);
    least.length += script.length;
  }
  return shares.map(({ names }) => names).filter((names) => names.length > 0);
}

/** Runs scripts, one after the other, on a machine of their own. */
async function runScripts(
  machine: readonly string[],
  dir: string,
  names: readonly string[],
): Promise<Map<string, ScriptResult>> {
  const driver = join(ROOT, 'scripts/conformance/run.sh');
  const files = names.map((name) => join(dir, name));
  const child = spawn('bash', [driver, process.execPath, cli, ...machine, '--', ...files], {
    // Where the tests look for test_modules.
    cwd: dir,
    stdio: ['ignore', 'pipe', 'pipe'],
    // A machine asks no server, and Node would read them as it starts.
    env: { ...process.env, NODE_EXTRA_CA_CERTS: '' },
  });
  const results = new Map<string, ScriptResult>();
  let script = newScript();
  let since = performance.now();
  let buffer = '';
  let errors = '';
  child.stderr.setEncoding('utf8').on('data', (text) => {
    errors += text;
  });
  child.stdout.setEncoding('utf8').on('data', (text) => {
    buffer += text;
    for (let end = buffer.indexOf('\n'); end >= 0; end = buffer.indexOf('\n')) {
      const line = buffer.slice(0, end);
      buffer = buffer.slice(end + 1);
      const exit = /^EXIT (\S+) (\d+)$/.exec(line);
      const test = /^TEST: (.*) \.\.\. (.*)$/.exec(line);
      if (exit) {
        results.set(exit[1], { ...script, status: Number(exit[2]), errors });
        script = newScript();
        errors = '';
        continue;
      }
      if (line !== '') script.output += `${line}\n`;
      if (!test) continue;
      const now = performance.now();
      script.tests.push({ name: test[1], ok: test[2] === 'ok', ms: now - since });
      since = now;
    }
  });
  await new Promise((resolve, reject) => {
    child.on('error', reject);
    child.on('close', resolve);
  });
  return results;
}

const newScript = () => ({ tests: [] as TestResult[], output: '' });

function report(expected: Expected, results: ReadonlyMap<string, ScriptResult>, ms: number): void {
  let passed = 0;
  let count = 0;
  for (const [script, { tests: names }] of expected) {
    const result = results.get(script) ?? { tests: [], output: '', errors: 'did not run\n', status: -1 };
    console.log(script);
    for (const name of names) {
      const test = result.tests.find((each) => each.name === name);
      const verdict = test ? (test.ok ? 'ok' : 'NOT OK') : 'NOT RUN';
      const time = test ? `${test.ms.toFixed(0).padStart(5)} ms` : '';
      console.log(`  ${verdict.padEnd(8)}${time.padStart(8)}  ${name}`);
      count++;
      if (test?.ok) passed++;
    }
    const failed = result.status !== 0 || result.tests.filter((test) => test.ok).length < names.length;
    if (failed) {
      console.log(indent(result.output));
      console.log(indent(result.errors));
      console.log(`  exit status ${result.status}`);
      process.exitCode = 1;
    }
  }
  console.log(
    `${passed} of ${count} tests passed in ${(ms / 1000).toFixed(1)} s, start of the machine included`,
  );
  if (passed < count) process.exitCode = 1;
}

function indent(text: string): string {
  return text
    .split('\n')
    .map((line) => `    ${line}`)
    .join('\n');
}
