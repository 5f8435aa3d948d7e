// How long the ORC tables of real modules take, beside the kernel's own objtool in the same run.
//
//   npm run bench objtool              needs linux-kbuild, binutils, and modules: those of `npm run corpus`, of
//                                      the running kernel, or of the folder that KLPEMU_MODULES names
//
// objtool is run once a module, as kbuild does; klpemu once for all of them, on one thread. Both write their
// tables. Processor time counts (user and system, the start of each process included): other load on the machine
// does not stretch it as it does the wall's.

import { execFileSync, spawnSync } from 'node:child_process';
import { copyFileSync, existsSync, mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { basename, join } from 'node:path';

/** The modules of the reference page, from 11 instructions to a million. */
const NAMES = 'crc7 e1000e usbcore nf_tables kvm-intel kvm ext4 xfs btrfs i915 amdgpu'.split(' ');
const ROUNDS = 5;
/** What objtool refuses to find there already. */
const MADE_BY_OBJTOOL = '.orc_unwind .orc_unwind_ip .return_sites .retpoline_sites .static_call_sites'.split(
  ' ',
);

function objtoolPath(): string | undefined {
  const folders = existsSync('/usr/lib')
    ? readdirSync('/usr/lib').filter((f) => f.startsWith('linux-kbuild-'))
    : [];
  return folders.map((f) => `/usr/lib/${f}/tools/objtool/objtool`).find((path) => existsSync(path));
}

/** By name, the path of each module found. */
function findModules(): Map<string, string> {
  const corpus = '.cache/corpus';
  const fetched = existsSync(corpus) ? readdirSync(corpus).map((d) => join(corpus, d, 'lib/modules')) : [];
  const found = new Map<string, string>();
  for (const folder of [process.env.KLPEMU_MODULES ?? '', ...fetched, '/lib/modules']) {
    if (!folder || !existsSync(folder)) continue;
    for (const entry of readdirSync(folder, { recursive: true }) as string[]) {
      const name = basename(entry).replace(/\.ko$/, '');
      if (entry.endsWith('.ko') && NAMES.includes(name) && !found.has(name))
        found.set(name, join(folder, entry));
    }
  }
  return found;
}

interface Time {
  readonly cpu: number;
  readonly wall: number;
}

/** Seconds of one command, by the shell's own clock. */
function time(command: string, args: readonly string[]): Time {
  const script = `TIMEFORMAT='%R %U %S'; time "$0" "$@" >/dev/null 2>&1`;
  const { stderr } = spawnSync('bash', ['-c', script, command, ...args], { encoding: 'utf8' });
  const [wall, user, system] = stderr.trim().split(/\s+/).slice(-3).map(Number);
  return { cpu: user + system, wall };
}

const median = (values: readonly number[]): number => values.toSorted((a, b) => a - b)[values.length >> 1];
const s = (seconds: number): string => seconds.toFixed(3);

function main(): void {
  const objtool = objtoolPath();
  const modules = findModules();
  if (!objtool || modules.size === 0 || !existsSync('/usr/bin/objcopy')) {
    console.log('skipped: needs linux-kbuild, binutils, and modules (npm run corpus fetches some)');
    return;
  }
  const dir = mkdtempSync(join(tmpdir(), 'klpemu-bench-'));
  try {
    compare(objtool, modules, dir);
  } finally {
    rmSync(dir, { recursive: true });
  }
}

function compare(objtool: string, modules: ReadonlyMap<string, string>, dir: string): void {
  const stripped: string[] = [];
  for (const name of NAMES) {
    const path = modules.get(name);
    if (path === undefined) continue;
    const bare = join(dir, `${name}.ko`);
    execFileSync('objcopy', [...MADE_BY_OBJTOOL.flatMap((section) => ['-R', section]), path, bare]);
    stripped.push(bare);
  }
  const rounds: { objtool: Time[]; klpemu: Time }[] = [];
  const work = join(dir, 'work');
  for (let i = 0; i < ROUNDS; i++) {
    const each = stripped.map((bare) => {
      // It changes the file in place.
      copyFileSync(bare, work);
      return time(objtool, ['--orc', '--module', work]);
    });
    const args = ['dist/cli/main.js', 'orc', '-j', '1', '-o', join(dir, 'out/'), ...stripped];
    rounds.push({ objtool: each, klpemu: time(process.execPath, args) });
  }
  stripped.forEach((bare, i) => {
    console.log(`${basename(bare)}: objtool ${s(median(rounds.map((r) => r.objtool[i].cpu)))} s`);
  });
  const sum = (times: readonly Time[], of: 'cpu' | 'wall'): number => times.reduce((a, t) => a + t[of], 0);
  const theirs = median(rounds.map((r) => sum(r.objtool, 'cpu')));
  const ours = median(rounds.map((r) => r.klpemu.cpu));
  const walls = [median(rounds.map((r) => sum(r.objtool, 'wall'))), median(rounds.map((r) => r.klpemu.wall))];
  const one = spawnSync(process.execPath, ['dist/cli/main.js', 'orc', '-j', '1', '--json', ...stripped], {
    encoding: 'utf8',
    maxBuffer: 1 << 28,
  });
  const { summary } = JSON.parse(one.stdout);
  console.log(
    `${stripped.length} modules, ${summary.instructions.toLocaleString('en-US')} instructions, processor time: ` +
      `objtool ${s(theirs)} s, klpemu ${s(ours)} s in one process, ${(ours / theirs).toFixed(2)} of it ` +
      `(aim 1 or less: ${ours <= theirs ? 'met' : 'missed'}); wall ${s(walls[0])} s and ${s(walls[1])} s; ` +
      `peak memory ${Math.round(summary.peakMemory / 2 ** 20)} MiB`,
  );
}

main();
