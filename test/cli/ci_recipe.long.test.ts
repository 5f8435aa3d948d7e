// docs/ci.md: the commands of both pipelines with the modules of docs/ten-minutes.md, and the Dockerfile's RUN lines.

import { spawnSync } from 'node:child_process';
import {
  chmodSync,
  copyFileSync,
  cpSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  rmSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join, relative } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { parse } from 'yaml';
import { Cli, ROOT } from './klpemu.ts';
import { commandsIn, runShown } from './page_session.ts';

const read = (path: string): string => readFileSync(join(ROOT, path), 'utf8');
const KEPT = join(ROOT, 'fixtures/ten-minutes');

interface Github {
  readonly on: readonly string[];
  readonly jobs: Readonly<
    Record<
      string,
      { readonly 'runs-on': string; readonly steps: readonly { run?: string; uses?: string; if?: string }[] }
    >
  >;
}
interface Gitlab {
  readonly livepatch: {
    readonly image: string;
    readonly before_script: readonly string[];
    readonly script: readonly string[];
    readonly artifacts: { readonly when: string; readonly paths: readonly string[] };
  };
}
const github = parse(read('docs/ci/github.yml')) as Github;
const gitlab = (parse(read('docs/ci/gitlab.yml')) as Gitlab).livepatch;
const commands = [...gitlab.before_script, ...gitlab.script];
const ours = commands.filter((command) => command.startsWith('klpemu '));

describe('the pipelines of docs/ci', () => {
  let cli: Cli;
  let folder: string;
  let bin: string;
  beforeAll(() => {
    cli = new Cli();
    folder = mkdtempSync(join(tmpdir(), 'klpemu-ci-'));
    bin = commandsIn(join(folder, 'bin'), {
      klpemu: `exec '${process.execPath}' '${join(ROOT, 'dist/cli/main.js')}' "$@"`,
    });
  });
  afterAll(() => {
    cli.remove();
    rmSync(folder, { recursive: true, force: true });
  });

  /** A repository with its modules built. */
  function repository(name: string, patch: string): string {
    const made = join(folder, name);
    mkdirSync(made);
    copyFileSync(join(KEPT, 'mymod.ko'), join(made, 'mymod.ko'));
    copyFileSync(join(KEPT, patch), join(made, 'mypatch.ko'));
    expect(runShown('klpemu new mymod.ko mypatch.ko -o first.yaml', made, bin).status).toBe(0);
    return made;
  }

  it('are the same commands for GitHub and GitLab', () => {
    const { steps } = github.jobs.livepatch;
    expect(steps.flatMap(({ run }) => (run === undefined ? [] : [run]))).toEqual(commands);
    for (const { run, uses } of steps) expect([run, uses].filter(Boolean)).toHaveLength(1);
    expect(github.on).toContain('pull_request');
    expect(ours.map((command) => command.split(' ')[1])).toEqual(['orc', 'check', 'vet', 'run']);
  });

  it('go well for a livepatch that is good, and keep a picture', () => {
    const made = repository('good', 'mypatch-second.ko');
    for (const command of ours) {
      const { status, lines } = runShown(command, made, bin);
      expect(status, `${command}\n${lines.join('\n')}`).toBe(0);
    }
    for (const path of gitlab.artifacts.paths) expect(existsSync(join(made, path))).toBe(true);
  });

  it('fail for one that stalls, in vet and in run, and keep the picture all the same', () => {
    const made = repository('stalls', 'mypatch-first.ko');
    const statuses = ours.map((command) => runShown(command, made, bin).status);
    expect(statuses).toEqual([0, 0, 1, 1]);
    for (const path of gitlab.artifacts.paths) expect(existsSync(join(made, path))).toBe(true);
    expect(gitlab.artifacts.when).toBe('always');
    expect(github.jobs.livepatch.steps.at(-1)?.if).toBe('always()');
  });
});

describe('the Dockerfile', () => {
  const lines = read('Dockerfile')
    .split('\n')
    .filter((line) => line !== '' && !line.startsWith('#'));
  const [build, image] = lines
    .join('\n')
    .split(/(?=^FROM )/m)
    .map((stage) => stage.split('\n'));
  const runs = (stage: readonly string[]): string[] =>
    stage.filter((line) => line.startsWith('RUN ')).map((line) => line.slice(4));

  it('has the version and the Node that package.json has', () => {
    const { version, engines } = JSON.parse(read('package.json')) as {
      version: string;
      engines: { node: string };
    };
    expect(lines.filter((line) => line.includes(`klpemu-${version}.tgz`))).toHaveLength(2);
    const [, least] = /^>=(\d+)$/.exec(engines.node) ?? [];
    for (const line of lines.filter((each) => each.startsWith('FROM ')))
      expect(Number(/node:(\d+)/.exec(line)?.[1])).toBeGreaterThanOrEqual(Number(least));
    for (const line of lines) expect(line).toMatch(/^(FROM|WORKDIR|COPY|RUN|USER|ENTRYPOINT|CMD) /);
  });

  it('makes by its RUN lines what its ENTRYPOINT is, for a user who can write to nothing of it', () => {
    const root = mkdtempSync(join(tmpdir(), 'klpemu-image-'));
    try {
      const src = join(root, 'src');
      // What COPY takes: all but what .dockerignore names.
      const ignored = new Set(read('.dockerignore').trim().split('\n'));
      cpSync(ROOT, src, { recursive: true, filter: (path) => !ignored.has(relative(ROOT, path)) });
      const env = { ...process.env, npm_config_prefix: join(root, 'usr') };
      const within = (line: string): string => line.replaceAll('/tmp', root);
      for (const [stage, cwd] of [
        [build, src],
        [image, root],
      ] as const) {
        for (const line of runs(stage)) {
          const { status, stderr } = spawnSync('sh', ['-c', within(line)], { cwd, env, encoding: 'utf8' });
          expect(status, `${line}\n${stderr}`).toBe(0);
        }
      }
      const [, entry = ''] = /ENTRYPOINT \["(\w+)"\]/.exec(image.join('\n')) ?? [];
      const made = join(root, 'usr/bin', entry);
      spawnSync('chmod', ['-R', 'a-w,a+rX', join(root, 'usr')]);
      chmodSync(root, 0o755);
      const work = join(root, 'work');
      mkdirSync(work);
      copyFileSync(join(KEPT, 'mymod.ko'), join(work, 'mymod.ko'));
      copyFileSync(join(KEPT, 'mypatch-second.ko'), join(work, 'mypatch.ko'));
      // To root no mode is in the way: as nobody, then.
      const user = process.getuid?.() === 0 ? { uid: 65534, gid: 65534 } : {};
      const asked = spawnSync(made, ['vet', 'mypatch.ko', '--modules', '.'], {
        cwd: work,
        encoding: 'utf8',
        env: { PATH: process.env.PATH, HOME: '/nonexistent' },
        ...user,
      });
      expect(asked.stderr).toBe('');
      expect(asked.status).toBe(0);
      expect(asked.stdout).toContain('mypatch.ko: good');
    } finally {
      spawnSync('chmod', ['-R', 'u+w', root]);
      rmSync(root, { recursive: true, force: true });
    }
  });
});
