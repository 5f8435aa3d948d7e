// A chroot of a Debian release, and commands in it.
//
// Invariant: commands run in mount and process namespaces of their own, so that whatever ends them, no mount and no
// process of theirs is left; the folder itself is removed by close().

import { spawn } from 'node:child_process';
import { closeSync, copyFileSync, mkdirSync, mkdtempSync, openSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { ScriptUsageError } from '../errors.ts';
import { CommandError, capture } from '../setup/run.ts';
import { aptOptions, certificateFiles, debianMirror, networkEnv } from './network.ts';

export const USER = 'somebody';
const NAMESPACES = ['--mount', '--pid', '--fork', '--kill-child', '--mount-proc'];
const PACKAGES = ['git', 'nodejs', 'npm', 'ca-certificates'];

export class Chroot {
  /** Process groups of what was started. */
  readonly #groups: number[] = [];
  readonly release: string;
  readonly dir: string;
  readonly env: Readonly<Record<string, string>>;

  /** @param release as mmdebstrap takes it */
  constructor(release: string) {
    this.release = release;
    this.dir = mkdtempSync(join(tmpdir(), `klpemu-fresh-${release}-`));
    this.env = networkEnv();
  }

  /** @param log file for what mmdebstrap says. `more`: packages */
  async make(log: string, more: readonly string[] = []): Promise<void> {
    const mirror = debianMirror();
    await this.#spawn(
      'unshare',
      [
        ...NAMESPACES,
        'mmdebstrap',
        '--mode=root',
        '--variant=minbase',
        // The chroot is thrown away: nothing need reach the disk in any order.
        '--dpkgopt=force-unsafe-io',
        `--include=${[...PACKAGES, ...more].join(',')}`,
        ...aptOptions(),
        this.release,
        join(this.dir, 'root'),
        ...(mirror ? [mirror] : []),
      ],
      log,
    );
    for (const [here, there] of certificateFiles()) this.copyIn(here, there);
    await this.run('root', 'update-ca-certificates', log);
    await this.run('root', `useradd --create-home ${USER}`, log);
  }

  /** The place on this machine of a path in the chroot. */
  path(inside: string): string {
    return join(this.dir, 'root', inside);
  }

  copyIn(here: string, there: string): void {
    mkdirSync(dirname(this.path(there)), { recursive: true });
    copyFileSync(here, this.path(there));
  }

  /**
   * Runs a line of shell as a user, in its home.
   * @param log file for what it prints
   */
  run(
    user: string,
    line: string,
    log: string,
    { timeoutMs = 600_000, env = {} }: { timeoutMs?: number; env?: Record<string, string> } = {},
  ): Promise<void> {
    const home = user === 'root' ? '/root' : `/home/${user}`;
    const root = this.path('');
    const variables = Object.entries({
      HOME: home,
      USER: user,
      PATH: '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin',
      LANG: 'C.UTF-8',
      DEBIAN_FRONTEND: 'noninteractive',
      CI: '1',
      ...this.env,
      ...env,
    }).map(([name, value]) => `${name}=${value}`);
    const mounts = [
      `mount -t proc proc ${root}/proc`,
      `mount --rbind /dev ${root}/dev`,
      `mount --rbind /sys ${root}/sys`,
      `mount -t tmpfs -o mode=1777 tmpfs ${root}/tmp`,
    ].join(' && ');
    // The shell stays, as process 1 of its namespace: it takes in what loses its parent, as init would.
    const inside = ['env', '-i', ...variables, 'sh', '-c', `cd && ${line}; exit $?`];
    const unshare = [
      '--mount',
      '--pid',
      '--fork',
      '--kill-child',
      'sh',
      '-c',
      `${mounts} && exec "$@"`,
      'sh',
    ];
    return this.#spawn(
      'unshare',
      [...unshare, 'chroot', `--userspec=${user}`, root, ...inside],
      log,
      timeoutMs,
    );
  }

  /** Ends what runs, and removes the folder: no mount is in it, as each was in a namespace that is gone. */
  close(): void {
    for (const group of this.#groups) {
      try {
        process.kill(-group, 'SIGKILL');
      } catch {
        // Nothing of it is left.
      }
    }
    // Should a mount be there against all that, what is behind it is not ours to remove.
    capture('rm', ['-rf', '--one-file-system', this.dir]);
  }

  #spawn(command: string, args: readonly string[], log: string, timeoutMs = 1_800_000): Promise<void> {
    const out = openSync(log, 'a');
    return new Promise((resolve, reject) => {
      const child = spawn(command, args, {
        stdio: ['ignore', out, out],
        detached: true,
        timeout: timeoutMs,
        killSignal: 'SIGKILL',
      });
      if (child.pid) this.#groups.push(child.pid);
      child.on('error', reject);
      child.on('exit', (status, signal) => {
        closeSync(out);
        if (status === 0) resolve();
        else
          reject(
            new CommandError(`${args.at(-1)}: ${signal ? `ended by ${signal}` : `exit status ${status}`}`),
          );
      });
    });
  }
}

/** @throws ScriptUsageError with what to do, when a chroot cannot be made here */
export function requireTools(): void {
  if (process.getuid?.() !== 0)
    throw new ScriptUsageError('a chroot needs root: sudo npm run fresh -- RELEASE');
  if (isThere('mmdebstrap')) return;
  if (!isThere('apt-get'))
    throw new ScriptUsageError('mmdebstrap is needed: install it with your package manager');
  const env = { DEBIAN_FRONTEND: 'noninteractive' };
  const install = () =>
    capture('apt-get', ['install', '-y', '-q', '--no-install-recommends', 'mmdebstrap'], { env });
  try {
    install();
  } catch {
    capture('apt-get', ['update', '-q'], { env });
    install();
  }
}

function isThere(program: string): boolean {
  try {
    capture('sh', ['-c', `command -v ${program}`]);
    return true;
  } catch {
    return false;
  }
}
