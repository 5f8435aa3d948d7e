// Real modules to measure with, and the kernel's own objtool to measure beside.

import { execFileSync, spawnSync } from 'node:child_process';
import { copyFileSync, existsSync, mkdirSync, readdirSync } from 'node:fs';
import { basename, join } from 'node:path';

/** From 11 instructions to a million. */
const NAMES = 'crc7 e1000e usbcore nf_tables kvm-intel kvm ext4 xfs btrfs i915 amdgpu'.split(' ');
/** What objtool refuses to find there already. */
const MADE_BY_OBJTOOL = '.orc_unwind .orc_unwind_ip .return_sites .retpoline_sites .static_call_sites'.split(
  ' ',
);

export const NEEDS = 'needs linux-kbuild, binutils, and modules (npm run corpus fetches some)';

/** Debian's linux-kbuild has it. */
export function objtoolPath(): string | undefined {
  if (!existsSync('/usr/bin/objcopy') || !existsSync('/usr/lib')) return undefined;
  const folders = readdirSync('/usr/lib').filter((name) => name.startsWith('linux-kbuild-'));
  return folders.map((name) => `/usr/lib/${name}/tools/objtool/objtool`).find((path) => existsSync(path));
}

/** The folder that KLPEMU_MODULES names, what `npm run corpus` fetched, or the running kernel's. */
export function moduleFolder(): string | undefined {
  const corpus = '.cache/corpus';
  const fetched = existsSync(corpus)
    ? readdirSync(corpus).map((name) => join(corpus, name, 'lib/modules'))
    : [];
  return [process.env.KLPEMU_MODULES ?? '', ...fetched, '/lib/modules'].find(
    (folder) => folder !== '' && existsSync(folder) && modulesIn(folder).length > 0,
  );
}

export function modulesIn(folder: string): string[] {
  const entries = readdirSync(folder, { recursive: true }) as string[];
  return entries.filter((entry) => entry.endsWith('.ko')).map((entry) => join(folder, entry));
}

/** Those measured one by one, as far as they are there. */
export function namedModules(folder: string): string[] {
  const all = modulesIn(folder);
  return NAMES.flatMap((name) => all.find((path) => basename(path) === `${name}.ko`) ?? []);
}

/** Copies without what objtool makes. */
export function stripModules(modules: readonly string[], dir: string): string[] {
  mkdirSync(dir, { recursive: true });
  return modules.map((path, i) => {
    const bare = join(dir, `${i}-${basename(path)}`);
    execFileSync('objcopy', [...MADE_BY_OBJTOOL.flatMap((name) => ['-R', name]), path, bare]);
    return bare;
  });
}

export function copyModules(modules: readonly string[], dir: string): string[] {
  mkdirSync(dir, { recursive: true });
  return modules.map((path) => {
    const copy = join(dir, basename(path));
    copyFileSync(path, copy);
    return copy;
  });
}

export interface Time {
  readonly cpu: number;
  readonly wall: number;
}

/** Seconds of one command, by the shell's own clock: with all that it started, user and system. */
export function time(command: string, args: readonly string[]): Time {
  const script = `TIMEFORMAT='%R %U %S'; time "$0" "$@" >/dev/null 2>&1`;
  const { stderr } = spawnSync('bash', ['-c', script, command, ...args], { encoding: 'utf8' });
  const [wall, user, system] = stderr.trim().split(/\s+/).slice(-3).map(Number);
  return { cpu: user + system, wall };
}

/** objtool over modules in sequence, as kbuild runs it: once for each, in place. */
export function timeObjtool(objtool: string, modules: readonly string[]): Time {
  return time('bash', ['-c', 'for m; do "$0" --orc --module "$m"; done', objtool, ...modules]);
}

export const KLPEMU = 'dist/cli/main.js';

export interface Summary {
  readonly instructions: number;
  readonly reached: number;
  readonly failed: number;
  readonly wrong: number;
  readonly skipped: number;
  readonly ms: number;
  readonly cpuMs: number;
  readonly peakMemory: number;
}

/** The summary of a command of klpemu. */
export function summaryOf(args: readonly string[]): Summary {
  const { stdout } = spawnSync(process.execPath, [KLPEMU, ...args, '--json'], {
    encoding: 'utf8',
    maxBuffer: 1 << 30,
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  return JSON.parse(stdout).summary;
}

export const median = (values: readonly number[]): number =>
  values.toSorted((a, b) => a - b)[values.length >> 1];
export const seconds = (value: number): string => value.toFixed(value < 10 ? 3 : 1);
