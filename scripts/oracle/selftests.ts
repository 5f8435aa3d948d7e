// The kernel's own livepatch selftests on both machines. In the real one the scripts run as they are; on the emulated one as
// `npm run conformance` runs them. An operation is a script: what it printed, its exit status, and every line of the log.

import { spawn } from 'node:child_process';
import {
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { rewrite } from '../conformance/rewrite.ts';
import { ensureKernelSources, type Sources } from '../conformance/sources.ts';
import type { BootedVersion } from '../debian/booted.ts';
import { ROOT } from '../root.ts';
import { capture, log, run } from '../setup/run.ts';
import type { Sequence } from './operations.ts';
import { MachineFailure, type Outcome, readLog } from './outcome.ts';

const HOME = 'selftests';
/** A program that one of the scripts starts, of later kernels. */
const CALLER = 'test_klp-call_getpid';

export class Selftests {
  readonly modules: string;
  readonly sequences: readonly Sequence[];
  readonly #tests: string;
  readonly #scripts: readonly string[];

  /** Fetches and builds what is missing. */
  constructor(version: BootedVersion, root: string) {
    const cache = join(root, '.cache');
    const found: Sources = ensureKernelSources(join(cache, 'conformance'), join(cache, 'kernels'), version, {
      run,
      log,
    });
    this.modules = found.modules;
    this.#tests = found.tests;
    this.#scripts = readdirSync(found.tests)
      .filter((name) => /^test-.*\.sh$/.test(name))
      .sort();
    const operations = this.#scripts.map((name) => `cd /${HOME}; KDIR=. ./${name}`);
    this.sequences = [{ name: HOME, operations }];
  }

  /** What the real machine has of them: untouched, with the modules where the scripts of each kernel look. */
  files(): ReadonlyMap<string, string | Uint8Array> {
    const files = new Map<string, string | Uint8Array>();
    for (const name of readdirSync(this.#tests).filter((file) => file.endsWith('.sh')))
      files.set(`${HOME}/${name}`, readFileSync(join(this.#tests, name)));
    for (const name of readdirSync(this.modules).filter((file) => file.endsWith('.ko')))
      files.set(`${HOME}/test_modules/${name}`, readFileSync(join(this.modules, name)));
    if (readdirSync(this.#tests).includes(`${CALLER}.c`)) files.set(`${HOME}/${CALLER}`, this.#caller());
    return files;
  }

  #caller(): Uint8Array {
    const dir = mkdtempSync(join(tmpdir(), 'klpemu-oracle-'));
    try {
      capture('gcc', ['-O2', '-static', '-o', join(dir, CALLER), join(this.#tests, `${CALLER}.c`)]);
      return readFileSync(join(dir, CALLER));
    } finally {
      rmSync(dir, { recursive: true, force: true });
    }
  }

  /** On a machine of `klpemu shell`. @param options of it @throws MachineFailure when a script did not run */
  async emulated(options: readonly string[]): Promise<Outcome[]> {
    const dir = mkdtempSync(join(tmpdir(), 'klpemu-oracle-'));
    try {
      for (const name of readdirSync(this.#tests).filter((file) => file.endsWith('.sh')))
        writeFileSync(join(dir, name), rewrite(name, readFileSync(join(this.#tests, name), 'utf8')));
      writeFileSync(join(dir, 'guest.sh'), readFileSync(join(ROOT, 'scripts/conformance/guest.sh')));
      symlinkSync(this.modules, join(dir, 'test_modules'));
      const results = join(dir, 'results');
      mkdirSync(results);
      const machine = [
        ...[process.execPath, join(ROOT, 'dist/cli/main.js'), 'shell', '--pipe'],
        ...['--dir', this.modules, ...options],
      ];
      const scripts = this.#scripts.map((name) => join(dir, name));
      const said = await bash(
        [join(ROOT, 'scripts/oracle/selftests.sh'), results, ...machine, '--', ...scripts],
        dir,
      );
      return readResults(results, this.#scripts, said);
    } finally {
      rmSync(dir, { recursive: true, force: true });
    }
  }
}

/** @returns what it wrote to standard error */
function bash(args: readonly string[], cwd: string): Promise<string> {
  return new Promise((resolve, reject) => {
    const child = spawn('bash', args, { cwd, stdio: ['ignore', 'ignore', 'pipe'] });
    let said = '';
    child.stderr.setEncoding('utf8').on('data', (text) => {
      said += text;
    });
    child.on('error', reject);
    child.on('close', () => resolve(said));
  });
}

function readResults(folder: string, scripts: readonly string[], said: string): Outcome[] {
  const outcomes: Outcome[] = [];
  const there = new Set(readdirSync(folder));
  for (const [n, name] of scripts.entries()) {
    const read = (what: string): string => readFileSync(join(folder, `${n}.${what}`), 'latin1');
    if (!there.has(`${n}.log`))
      throw new MachineFailure(
        `the emulated machine ended at ${name}: ${said.trim().split('\n').at(-1)}`,
        outcomes,
      );
    outcomes.push({
      status: Number(read('status')),
      stdout: read('stdout'),
      stderr: read('stderr'),
      log: readLog(read('log')),
    });
  }
  return outcomes;
}
