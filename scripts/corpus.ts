// `npm run corpus`: Debian's kernel package of this machine's release, and what klpemu says of its modules.
//
//   node scripts/run.mjs corpus [orc] [check] [--package NAME] [--modules DIR] [--no-page]
//
// The package goes to .cache/corpus, never into the repository; one that is there already is not fetched again.
// Results: .cache/corpus/results.json, and the figures in docs/corpus.md between its markers.

import { execFileSync, spawnSync } from 'node:child_process';
import {
  existsSync,
  mkdirSync,
  openSync,
  readdirSync,
  readFileSync,
  renameSync,
  writeFileSync,
} from 'node:fs';
import { availableParallelism } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { ScriptError, ScriptUsageError } from './errors.ts';
import { ROOT } from './root.ts';
import { CommandError, run } from './setup/run.ts';

const cache = join(ROOT, '.cache/corpus');
const PAGE = join(ROOT, 'docs/corpus.md');

interface Agreement {
  readonly differences: readonly { readonly place: string }[];
}

/** What `klpemu orc --diff --json` prints. */
interface OrcResult {
  readonly summary: Readonly<Record<string, number>> & { readonly classes: Readonly<Record<string, number>> };
  readonly objects: readonly { readonly file: string; readonly agreement?: Agreement }[];
}

type Wrong = 'wrong' | 'unreliable';
type Counts = Readonly<Record<Wrong, number>>;

interface Checked extends Counts {
  readonly notCovered: Readonly<Record<string, number>>;
  readonly functions: readonly (Counts & { readonly name: string })[];
}

/** What `klpemu check --json` prints. */
interface CheckResult {
  readonly summary: Readonly<Record<string, number>>;
  readonly objects: readonly { readonly file: string; readonly check?: Checked }[];
}

/** The kernel that Debian's meta package stands for now. */
function kernelPackage(): string {
  const lines = execFileSync('apt-cache', ['depends', 'linux-image-amd64'], { encoding: 'utf8' });
  const name = /Depends: (linux-image-\S+)/.exec(lines)?.[1];
  if (!name) throw new ScriptUsageError('apt knows no linux-image-amd64: name a package with --package');
  return name;
}

/** The folder that the modules of a package are unpacked in. */
function fetchModules(name: string): string {
  const folder = join(cache, name);
  if (!existsSync(folder)) {
    mkdirSync(cache, { recursive: true });
    run('apt-get', ['download', name], { cwd: cache });
    const file = readdirSync(cache).find((f) => f.startsWith(`${name}_`) && f.endsWith('.deb'));
    if (!file) throw new CommandError(`apt-get download left no ${name}_*.deb`);
    // Whole or not at all.
    run('dpkg-deb', ['-x', join(cache, file), `${folder}.part`]);
    renameSync(`${folder}.part`, folder);
  }
  const modules = ['lib/modules', 'usr/lib/modules']
    .map((dir) => join(folder, dir))
    .find((dir) => existsSync(dir));
  if (!modules) throw new ScriptError(`${name} holds no modules`);
  return modules;
}

/** What a command of klpemu says with --json. It is large: it goes through a file. */
function klpemu<Result>(command: string, args: readonly string[], file: string): Result {
  const output = join(cache, file);
  mkdirSync(cache, { recursive: true });
  const { status, error } = spawnSync(
    process.execPath,
    [join(ROOT, 'dist/cli/main.js'), command, '--json', ...args],
    { stdio: ['ignore', openSync(output, 'w'), 'inherit'] },
  );
  if (error) throw error;
  if (status !== 0 && status !== 1 && status !== 2)
    throw new CommandError(`klpemu ${command} ended with ${status}`);
  return JSON.parse(readFileSync(output, 'utf8')) as Result;
}

const has = (command: string): boolean =>
  execFileSync(process.execPath, [join(ROOT, 'dist/cli/main.js'), '--help'], { encoding: 'utf8' }).includes(
    `\n  ${command} `,
  );

const whole = (n: number): string => n.toLocaleString('en-US');
const seconds = (ms: number): string => `${(ms / 1000).toFixed(1)} s`;
const of = (part: number, all: number): string => `${whole(part)} of ${whole(all)}`;

function orcTable({ summary: s, objects }: OrcResult): string {
  const rows = [
    ['modules', whole(s.objects)],
    ['of them not usable', whole(s.failed)],
    ['functions', whole(s.functions)],
    ['instructions', whole(s.instructions)],
    ['entries made', whole(s.entries)],
    ["modules whose table is objtool's (of those that have one)", of(s.same, s.compared)],
    ['functions', of(s.functionsSame, s.functionsCompared)],
    ['instructions', of(s.instructionsSame, s.instructionsCompared)],
    ['time', seconds(s.ms)],
    ['processor time', seconds(s.cpuMs)],
    ['peak memory', `${Math.round(s.peakMemory / 2 ** 20)} MiB`],
  ];
  const lines = [
    '| klpemu orc --diff | |',
    '| --- | --- |',
    ...rows.map((row) => `| ${row.join(' | ')} |`),
    '',
  ];
  for (const [name, count] of Object.entries(s.classes)) {
    lines.push(`- functions that differ, ${name}: ${whole(count)}`);
  }
  for (const { file, agreement } of objects) {
    if (!agreement || agreement.differences.length === 0) continue;
    const functions = new Set(agreement.differences.map((d) => d.place.replace(/\+0x[0-9a-f]+$/, '')));
    lines.push(`- ${file.split('/').at(-1)}: ${[...functions].slice(0, 10).join(', ')}`);
  }
  return lines.join('\n');
}

function checkTable({ summary: s, objects }: CheckResult): string {
  const percent = (part: number, all: number): string => `${((100 * part) / all).toFixed(2)} %`;
  const rows = [
    ['modules', whole(s.objects)],
    ['of them not usable', whole(s.failed)],
    ['functions', whole(s.functions)],
    ['instructions', whole(s.instructions)],
    ['covered', `${whole(s.reached)} (${percent(s.reached, s.instructions)})`],
    ['right', whole(s.right)],
    ['wrong and declared unreliable', whole(s.unreliable)],
    ['wrong and declared reliable', whole(s.wrong)],
    ['time', seconds(s.ms)],
    ['processor time', seconds(s.cpuMs)],
    ['instructions a second of processor time', whole(Math.round(s.reached / (s.cpuMs / 1000)))],
    ['peak memory', `${Math.round(s.peakMemory / 2 ** 20)} MiB`],
  ];
  const lines = ['| klpemu check | |', '| --- | --- |', ...rows.map((row) => `| ${row.join(' | ')} |`), ''];
  const reasons = new Map<string, number>();
  for (const { check } of objects) {
    for (const [why, n] of Object.entries(check?.notCovered ?? {}))
      reasons.set(why, (reasons.get(why) ?? 0) + n);
  }
  for (const [why, n] of reasons) lines.push(`- not covered, ${why}: ${whole(n)}`);
  for (const [verdict, name] of [
    ['wrong, declared reliable', 'wrong'],
    ['wrong, declared unreliable', 'unreliable'],
  ] as const) {
    for (const { file, check } of objects) {
      if (!check || check[name] === 0) continue;
      const functions = check.functions.filter((f) => f[name] > 0).map((f) => `${f.name} (${f[name]})`);
      lines.push(`- ${verdict}: ${file.split('/').at(-1)}: ${functions.slice(0, 10).join(', ')}`);
    }
  }
  return lines.join('\n');
}

function writePage(parts: Readonly<Record<string, string>>): void {
  let page = readFileSync(PAGE, 'utf8');
  for (const [name, text] of Object.entries(parts)) {
    const part = new RegExp(`(<!-- ${name} -->\n)[^]*?(<!-- end -->)`);
    if (part.test(page)) page = page.replace(part, (_, start, end) => `${start}${text}\n${end}`);
  }
  writeFileSync(PAGE, page);
}

/** What is done with the modules; each by itself, so that one that fails does not lose the other's figures. */
const COMMANDS: Readonly<Record<string, (modules: string) => { result: unknown; table: string }>> = {
  orc: (modules) => {
    const result = klpemu<OrcResult>('orc', ['--diff', modules], 'orc.json');
    return { result, table: orcTable(result) };
  },
  check: (modules) => {
    const result = klpemu<CheckResult>('check', [modules], 'check.json');
    return { result, table: checkTable(result) };
  },
};

export function main(args: string[]): void {
  const { values, positionals } = parseArgs({
    args,
    allowPositionals: true,
    options: {
      package: { type: 'string' },
      modules: { type: 'string' },
      'no-page': { type: 'boolean' },
    },
  });
  const name = values.modules ?? values.package ?? kernelPackage();
  const modules = values.modules ?? fetchModules(name);
  console.error(`klpemu: modules of ${modules}`);
  const file = join(cache, 'results.json');
  const before = existsSync(file) ? JSON.parse(readFileSync(file, 'utf8')) : {};
  const results = { ...(before.package === name ? before : {}), package: name, node: process.version };
  const wanted = positionals.length > 0 ? positionals : Object.keys(COMMANDS).filter(has);
  for (const command of wanted) {
    if (!COMMANDS[command])
      throw new ScriptUsageError(`usage: npm run corpus [-- ${Object.keys(COMMANDS).join('|')}]`);
    const { result, table } = COMMANDS[command](modules);
    results[command] = result;
    console.log(`${table}\n`);
    writeFileSync(file, JSON.stringify(results));
    if (values['no-page']) continue;
    const measured = `Measured with the modules of \`${name}\`, Node ${process.version}, ${availableParallelism()} cores.`;
    writePage({ package: measured, [command]: table });
  }
}
