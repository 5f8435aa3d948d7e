// The real machine: a kernel of Debian's in QEMU, with an initramfs that carries out the operations (init.sh).
//
// One thread of TCG and, with one CPU, time that counts instructions: the same operations give the same log, and a sleep
// costs nothing. With --kvm neither holds.

import { spawn } from 'node:child_process';
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { basename, join } from 'node:path';
import { ScriptUsageError } from '../errors.ts';
import { ROOT } from '../root.ts';
import { capture, log } from '../setup/run.ts';
import { CpioArchive } from './cpio.ts';
import { MachineFailure, type Outcome, readOutcomes } from './outcome.ts';
import { addUserspace } from './userspace.ts';

const QEMU = 'qemu-system-x86_64';
const PACKAGE = 'qemu-system-x86';
/** That a line of init.sh may take, and a start; of this computer's time. */
const START_MS = 300_000;
const LINE_MS = 60_000;
/** Or a script. */
const SCRIPT_MS = 600_000;
/** Polls of init.sh: ten a second. */
const POLLS = 10;

export interface RealOptions {
  /** Its vmlinuz, and its release as uname -r says it. */
  readonly kernel: string;
  readonly release: string;
  /** Folder of the .ko files that both machines have in /lib/modules/RELEASE/extra. */
  readonly modules: string;
  readonly userspace: string;
  readonly cmdline: string;
  readonly cpus: number;
  readonly kvm: boolean;
  /** For how long an operation may leave a transition that does not end, in the machine's time. */
  readonly stallSeconds: number;
  /** That an operation may take, of this computer's time; as long as a line or a script may by default. */
  readonly lineMs?: number;
  /** Scripts that operations start, and what they need: more files of the initramfs. */
  readonly files?: ReadonlyMap<string, string | Uint8Array>;
}

/** @throws ScriptUsageError where QEMU is not there and cannot be installed */
export function requireQemu(): void {
  const has = (): boolean => (process.env.PATH ?? '').split(':').some((dir) => existsSync(join(dir, QEMU)));
  if (has()) return;
  const hint = `${QEMU} is needed: the package ${PACKAGE} of Debian`;
  if (process.getuid?.() !== 0 || !existsSync('/usr/bin/apt-get')) throw new ScriptUsageError(hint);
  log(`installing ${PACKAGE}`);
  const env = { DEBIAN_FRONTEND: 'noninteractive' };
  const install = () =>
    capture('apt-get', ['install', '-y', '-q', '--no-install-recommends', PACKAGE], { env });
  try {
    install();
  } catch {
    capture('apt-get', ['update', '-q'], { env });
    install();
  }
  if (!has()) throw new ScriptUsageError(hint);
}

/** Boots the kernel and has it carry out the operations. @throws MachineFailure when it ends before they do */
export async function runReal(operations: readonly string[], options: RealOptions): Promise<Outcome[]> {
  const dir = mkdtempSync(join(tmpdir(), 'klpemu-oracle-'));
  try {
    const [initrd, result, console] = ['initrd', 'result', 'console'].map((name) => join(dir, name));
    writeFileSync(initrd, initramfs(operations, options));
    const lineMs = options.lineMs ?? (options.files ? SCRIPT_MS : LINE_MS);
    const limit = START_MS + lineMs * operations.length;
    const why = await qemu(argumentsOf(options, initrd, result, console), limit);
    const { outcomes, ended } = readOutcomes(existsSync(result) ? readFileSync(result) : new Uint8Array());
    if (ended && outcomes.length === operations.length) return outcomes;
    const said = existsSync(console) ? readFileSync(console, 'latin1').trimEnd().split('\n').slice(-20) : [];
    const next = operations[outcomes.length] ?? 'the end';
    const tail = said.length > 0 ? `; its console ends with\n${said.join('\n')}` : '';
    throw new MachineFailure(`the real machine ended at '${next}' (${why})${tail}`, outcomes);
  } finally {
    rmSync(dir, { recursive: true, force: true });
  }
}

function argumentsOf(
  { kernel, cmdline, cpus, kvm }: RealOptions,
  initrd: string,
  result: string,
  console: string,
): string[] {
  const icount = cpus === 1 ? ['-icount', 'shift=2,sleep=off'] : [];
  const accel = kvm ? ['-accel', 'kvm'] : ['-accel', 'tcg,thread=single', ...icount];
  return [
    ...accel,
    ...['-cpu', 'qemu64', '-smp', String(cpus), '-m', '1024'],
    ...['-display', 'none', '-monitor', 'none', '-no-reboot', '-nodefaults'],
    ...['-serial', `file:${console}`, '-serial', `file:${result}`],
    ...['-kernel', kernel, '-initrd', initrd, '-append', cmdline],
  ];
}

/** @returns how it ended */
function qemu(args: readonly string[], limitMs: number): Promise<string> {
  return new Promise((resolve, reject) => {
    const child = spawn(QEMU, args, {
      stdio: ['ignore', 'ignore', 'pipe'],
      timeout: limitMs,
      killSignal: 'SIGKILL',
    });
    const end = (): void => {
      child.kill('SIGKILL');
    };
    process.once('exit', end);
    let errors = '';
    child.stderr.setEncoding('utf8').on('data', (text) => {
      errors += text;
    });
    child.on('error', reject);
    child.on('close', (status, signal) => {
      process.removeListener('exit', end);
      const said = errors.trim().split('\n').at(-1) ?? '';
      resolve([signal ? `ended by ${signal}` : `exit status ${status}`, said].filter(Boolean).join(': '));
    });
  });
}

function initramfs(operations: readonly string[], options: RealOptions): Buffer {
  const { release, modules, userspace, stallSeconds, files = new Map() } = options;
  const archive = new CpioArchive();
  addUserspace(archive, userspace);
  for (const file of readdirSync(modules)
    .filter((name) => name.endsWith('.ko'))
    .sort())
    archive.file(`usr/lib/modules/${release}/extra/${basename(file)}`, readFileSync(join(modules, file)));
  archive.file('init', readFileSync(join(ROOT, 'scripts/oracle/init.sh')), 0o755);
  archive.file('oracle/script', operations.map((line) => `${line}\n`).join(''));
  archive.file('oracle/options', `settle_tries=${stallSeconds * POLLS}\n`);
  for (const [path, bytes] of files) archive.file(path, bytes, 0o755);
  return archive.bytes();
}
