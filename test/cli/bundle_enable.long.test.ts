// klpemu bundle enable and disable, on a machine in the background, as a user starts them.

import { spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';

const ROOT = join(import.meta.dirname, '../..');
let dir: string;
let env: NodeJS.ProcessEnv;

beforeAll(() => {
  spawnSync(process.execPath, ['scripts/run.mjs', 'build', '--no-types'], { cwd: ROOT, stdio: 'inherit' });
  dir = mkdtempSync(join(tmpdir(), 'klpemu-bundle-'));
  env = { ...process.env, XDG_RUNTIME_DIR: dir };
  expect(klpemu('up', '--model', 'bundle')).toEqual({ status: 0, stdout: 'default\n', stderr: '' });
});
afterAll(() => {
  klpemu('down');
  rmSync(dir, { recursive: true, force: true });
});

function klpemu(...args: string[]) {
  const { status, stdout, stderr } = spawnSync(process.execPath, ['dist/cli/main.js', ...args], {
    cwd: ROOT,
    encoding: 'utf8',
    env,
  });
  return { status, stdout, stderr };
}

/** What a user sees of a machine's modules and livepatches. */
const seen = (): string =>
  klpemu('exec', 'cat /proc/modules; cat /proc/kallsyms; ls /sys/kernel/livepatch; ls /tmp; bundle list')
    .stdout;

describe('klpemu bundle enable and disable', () => {
  it('enable a bundle of the host in the machine, and disable it by its name', () => {
    const before = seen();
    expect(klpemu('bundle', 'enable', 'fixtures/bundles/v1.klpb', '--wait')).toEqual({
      status: 0,
      stdout:
        'steps_v1 1: enabled; 1 of 4 members live, waiting for klpbundle_core klpbundle_mid klpbundle_top\n',
      stderr: '',
    });
    expect(klpemu('exec', '--', 'modprobe', 'klpbundle_core').status).toBe(0);
    expect(klpemu('exec', 'dmesg | grep "init says"').stdout).toContain('klpbundle_core: init says 100');
    expect(klpemu('exec', 'rmmod klpbundle_core').status).toBe(0);
    const { stdout } = klpemu('bundle', 'disable', 'steps_v1', '--timeout', '20', '--json');
    expect(JSON.parse(stdout)).toEqual({ bundle: null });
    klpemu('exec', 'sleep 1');
    expect(seen()).toBe(before);
  });

  it('end with 1 and the words of the kernel when a bundle is refused, and the machine is as before', () => {
    klpemu('exec', '--', 'modprobe', 'klpbundle_top');
    const before = seen();
    for (const [name, reason] of [
      ['bad_field', "bundle.json: members.2: unknown field 'colour'"],
      ['bad_callback', "pre-patch callback failed for object 'klpbundle_mid'"],
      ['bad_target', 'klpbundle_top'],
    ]) {
      const refused = klpemu('bundle', 'enable', `fixtures/bundles/${name}.klpb`);
      expect(refused).toMatchObject({ status: 1, stdout: '' });
      expect(refused.stderr).toMatch(new RegExp(`^bundle: /tmp/${name}.klpb is not enabled: `));
      expect(refused.stderr).toContain(reason);
    }
    expect(seen()).toBe(before);
  });

  it('klpemu why tells of a load that waits for the transition', () => {
    const dir = '/lib/modules/6.1.0-56-amd64/extra';
    expect(klpemu('exec', 'modprobe -r klpbundle_top; modprobe klpbundle_asker').status).toBe(0);
    expect(klpemu('bundle', 'enable', 'fixtures/bundles/v2.klpb').stdout).toMatch(/^steps_v2 2: patching; /);
    const pid = klpemu('exec', '--', 'start', 'insmod', `${dir}/klpbundle_core.ko`).stdout.trim();
    const { status, stdout } = klpemu('why');
    expect(status).toBe(0);
    expect(stdout).toMatch(/^klpbundle_asker:\d+ .* is sleeping on function klpbundle_asker_step/m);
    expect(stdout).toMatch(
      new RegExp(`^insmod:${pid} .* is to load or unload a module; on the gate for 0.0 s$`, 'm'),
    );
    expect(stdout).toMatch(/^ {2}waits for: the transition of 'steps_v2'$/m);
    expect(JSON.parse(klpemu('why', '--json').stdout).gate).toMatchObject([{ pid: Number(pid) }]);
    expect(klpemu('exec', 'sleep 2; why; bundle list').stdout).toBe(
      'no transition is under way\nsteps_v2 2: enabled; 2 of 3 members live, waiting for klpbundle_top\n',
    );
    expect(klpemu('bundle', 'disable', 'steps_v2', '--wait').stdout).toBe('steps_v2 2: disabled\n');
  });

  it('end with 2 where there is no such file, no such machine, or something is left out', () => {
    expect(klpemu('bundle', 'enable', 'nosuch.klpb')).toMatchObject({
      status: 2,
      stderr: 'klpemu: nosuch.klpb: no such file or directory\n',
    });
    expect(klpemu('bundle', 'disable', 'v1', '--name', 'other').status).toBe(2);
    expect(klpemu('bundle', 'enable').status).toBe(2);
    expect(klpemu('bundle', 'disable', 'nosuch')).toMatchObject({
      status: 1,
      stderr: "bundle: no bundle 'nosuch' is enabled\n",
    });
  });
});
