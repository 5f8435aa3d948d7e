// The bundles that are checked in: made again, verified, enabled; each bad one is refused for its reason.

import { spawnSync } from 'node:child_process';
import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { UAPI } from '../../src/kernel/uapi.ts';
import { rest } from './state.ts';
import { SECOND, World } from './world.ts';

const ROOT = join(import.meta.dirname, '../..');
const BUNDLES = join(ROOT, 'fixtures/bundles');
const bundles = (dir: string): string[] => readdirSync(dir).filter((name) => name.endsWith('.klpb'));
/** Machines in the background are of this test alone. */
const env = { ...process.env, XDG_RUNTIME_DIR: mkdtempSync(join(tmpdir(), 'klpemu-run-')) };
afterAll(() => rmSync(env.XDG_RUNTIME_DIR, { recursive: true, force: true }));
const klpb = (name: string): Uint8Array => new Uint8Array(readFileSync(join(BUNDLES, `${name}.klpb`)));

function node(...args: string[]) {
  return spawnSync(process.execPath, args, { cwd: ROOT, encoding: 'utf8', env });
}

describe('the bundles of fixtures/bundles', () => {
  let dir: string;
  beforeAll(() => {
    dir = mkdtempSync(join(tmpdir(), 'klpemu-bundles-'));
    expect(node('scripts/run.mjs', 'build-bundles', dir)).toMatchObject({ status: 0, stderr: '' });
  });
  afterAll(() => rmSync(dir, { recursive: true, force: true }));

  it('are made again byte for byte', () => {
    expect(bundles(dir)).toEqual(bundles(BUNDLES));
    const differing = bundles(dir).filter(
      (name) => !readFileSync(join(dir, name)).equals(readFileSync(join(BUNDLES, name))),
    );
    expect(differing).toEqual([]);
  });

  it.each([
    ['v1', 'steps_v1 1, 4 members, as the manifest says'],
    ['v2', 'steps_v2 2, 3 members, as the manifest says'],
    // What is wrong with these shows where their targets are.
    ['bad_reloc', 'steps_bad_reloc 1, 3 members, as the manifest says'],
    ['bad_callback', 'steps_bad_callback 1, 3 members, as the manifest says'],
    ['bad_target', 'steps_bad_target 1, 2 members, as the manifest says'],
  ])('are verified: %s', (name, text) => {
    const file = `fixtures/bundles/${name}.klpb`;
    expect(node('dist/cli/main.js', 'bundle', 'verify', file)).toMatchObject({
      status: 0,
      stdout: `${file}: ${text}\n`,
      stderr: '',
    });
  });
});

/** Bad in itself: file, and what is wrong in it and where. */
const DAMAGED: readonly [string, number, string][] = [
  ['bad_hash', UAPI.EBADMSG, 'member klpbundle_p1_core.ko is not the file whose SHA-256 the manifest has'],
  ['bad_member', UAPI.EBADMSG, 'member klpbundle_p1_core.ko is not the file whose SHA-256 the manifest has'],
  ['bad_tar', UAPI.EBADMSG, 'the tar is cut short in klpbundle_p1_core.ko'],
  ['bad_field', UAPI.EINVAL, "bundle.json: members.2: unknown field 'colour'"],
  [
    'bad_two_members',
    UAPI.EINVAL,
    'members klpbundle_p1_core.ko and klpbundle_p2_core.ko are both for object klpbundle_core',
  ],
  [
    'bad_two_objects',
    UAPI.EINVAL,
    'klpbundle_c1.ko is for 2 objects (klpbundle_asker, klpbundle_core), not for one',
  ],
];

/** Bad where their targets are loaded. */
const FAILING: readonly [string, number, RegExp][] = [
  [
    'bad_reloc',
    UAPI.EINVAL,
    /member 'klpbundle_bad_reloc' for object 'klpbundle_mid': livepatch symbol \S+\.klpbundle_mid_missing,0 not found/,
  ],
  ['bad_callback', UAPI.EPERM, /pre-patch callback failed for object 'klpbundle_mid'/],
  [
    'bad_target',
    UAPI.EINVAL,
    /member klpbundle_p1_top\.ko is for klpbundle_top of srcversion 0123456789ABCDEF0123456, and \w{23} is loaded/,
  ],
];

describe('a bundle that is damaged', () => {
  it.each(DAMAGED)('is not verified, and is told with file and place: %s', (name, _errno, reason) => {
    const file = `fixtures/bundles/${name}.klpb`;
    expect(node('dist/cli/main.js', 'bundle', 'verify', file)).toMatchObject({
      status: 2,
      stdout: '',
      stderr: `klpemu: ${file}: ${reason}\n`,
    });
  });
});

describe('bundle.md 3: the fixtures, enabled from the command line', () => {
  const klpemu = (...args: string[]) => node('dist/cli/main.js', ...args);
  const seen = (): string =>
    klpemu('exec', 'cat /proc/modules; cat /proc/kallsyms; ls /sys/kernel/livepatch; bundle list').stdout;

  beforeAll(() => {
    expect(klpemu('up', '--model', 'bundle').status).toBe(0);
    expect(klpemu('exec', 'modprobe klpbundle_top').status).toBe(0);
  });
  afterAll(() => void klpemu('down'));

  it.each([...DAMAGED, ...FAILING])(
    '%s is refused with exit code 1, file and reason',
    (name, _errno, reason) => {
      const before = seen();
      expect(before).toContain('klpbundle_top');
      const refused = klpemu('bundle', 'enable', `fixtures/bundles/${name}.klpb`);
      expect(refused).toMatchObject({ status: 1, stdout: '' });
      expect(refused.stderr).toContain(`${name}.klpb`);
      expect(refused.stderr).toMatch(typeof reason === 'string' ? literal(reason) : reason);
      expect(seen()).toBe(before);
    },
  );

  it('and then both versions, one after the other', () => {
    const says = (): string =>
      klpemu('exec', 'cat /proc/klpbundle_core /proc/klpbundle_mid /proc/klpbundle_top').stdout;
    expect(klpemu('bundle', 'enable', 'fixtures/bundles/v1.klpb', '--wait').status).toBe(0);
    expect(says()).toBe('klpbundle_core 100\nklpbundle_mid 100\nklpbundle_top 100\n');
    expect(klpemu('bundle', 'enable', 'fixtures/bundles/v2.klpb', '--wait').status).toBe(0);
    expect(says()).toBe('klpbundle_core 200\nklpbundle_mid 201\nklpbundle_top 200\n');
  });
});

const literal = (text: string): RegExp => new RegExp(text.replaceAll(/[.*+?^${}()|[\]\\]/g, '\\$&'));

describe('bundle.md 3: the fixtures, enabled', () => {
  let w: World;
  beforeEach(async () => {
    w = await World.boot();
  });
  afterEach(() => w.machine.close());
  const load = (...names: string[]): void => {
    for (const name of names) expect(w.insmod(name)).toBe(0);
  };
  const says = (...names: string[]): number[] => names.map((name) => w.says(name));

  it.each([
    ...DAMAGED.map(([name, errno, text]) => [name, errno, `bundle /lib/x.klpb: ${text}`] as const),
    ...FAILING,
  ])('%s is refused with its reason, and everything is as before', (name, errno, line) => {
    load('core', 'mid', 'top');
    // A first time, for what is made on first use.
    expect(w.enable(klpb('v1'))).toBe(0);
    w.settled();
    expect(w.write('steps_v1', 'enabled', '0')).toBe(0);
    w.settled();
    expect(w.freed('steps_v1')).toBe(true);
    const before = rest(w);
    expect(w.enable(klpb(name))).toBe(errno);
    expect(w.has(line)).toBe(true);
    expect(rest(w)).toEqual(before);
    expect(w.enable(klpb('v1'))).toBe(0);
    w.settled();
    expect(says('core', 'mid', 'top')).toEqual([100, 100, 100]);
  });

  it('the second version replaces the first, with other objects', () => {
    load('core', 'mid', 'top');
    expect(w.enable(klpb('v1'))).toBe(0);
    w.settled();
    expect(says('core', 'mid', 'top')).toEqual([100, 100, 100]);
    expect(w.cat('/proc/cmdline')).toContain('livepatched');
    expect(w.enable(klpb('v2'))).toBe(0);
    w.settled();
    expect(w.freed('steps_v1')).toBe(true);
    expect(says('core', 'mid', 'top')).toEqual([200, 201, 200]);
    expect(w.cat('/proc/cmdline')).not.toContain('livepatched');
    expect(w.machine.inspect.fs.list('/sys/kernel/livepatch')).toEqual(['steps_v2']);
  });

  it('modules that come before, during and after', () => {
    load('core', 'asker');
    expect(w.enable(klpb('v2'))).toBe(0);
    expect(w.machine.inspect.livepatch.transitionPatch?.name).toBe('steps_v2');
    // During: it waits, and top after it needs it.
    const during = w.startInsmod('mid');
    expect(w.machine.runUntil(() => w.machine.inspect.bundles?.gate.why(during) !== undefined, SECOND)).toBe(
      true,
    );
    expect(w.wait(during)).toBe(0);
    expect(w.machine.inspect.livepatch.transitionPatch).toBeUndefined();
    load('top');
    expect(w.has('klpbundle_top: init says 200')).toBe(true);
    expect(says('core', 'mid', 'top')).toEqual([200, 201, 200]);
  });

  it('a member for a module that is not there fails when the module comes, and the module with it', () => {
    load('core');
    expect(w.enable(klpb('bad_reloc'))).toBe(0);
    w.settled();
    w.insmod('mid');
    const before = rest(w);
    expect(w.insmod('mid')).toBe(UAPI.EINVAL);
    expect(w.has(FAILING[0][2])).toBe(true);
    expect(rest(w)).toEqual(before);
    expect(w.modules()).not.toContain('klpbundle_mid');
  });
});
