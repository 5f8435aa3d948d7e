// A real kernel under the machine: its own functions run, are livepatched and come back, byte for byte.

import { readdirSync, readFileSync, statSync } from 'node:fs';
import { basename, dirname, join } from 'node:path';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { X86_64 } from '../../src/arch/x86_64/x86_64.ts';
import { unpack } from '../../src/elf/unpack.ts';
import { loadRealImage } from '../../src/machine/boot/image.ts';
import { Machine } from '../../src/machine/machine.ts';
import { openKernel } from '../../src/machine/native/cache.ts';
import { functionsPage } from '../../src/machine/native/page.ts';
import { DEBIAN_KERNELS, vmlinuzOf } from '../vmlinuz/debian_kernels.ts';
import { moduleFor } from './for_kernel.ts';

const PATCH_NAME = 'klpdemo_patch_vmlinux';
const PATCH = readFileSync(join(import.meta.dirname, `../../fixtures/modules/${PATCH_NAME}.ko`));
/** What the template replaces: the names of others are put in its place. */
const NAME = 'cmdline_proc_show';

/** What is so of one kernel. */
const KERNELS = {
  '6.1': { sites: 38_252, symbols: 94_266, modules: ['bch', 'loop', 'lru_cache', 'raid6_pq', 'sch_netem'] },
  '6.12': { sites: 42_853, symbols: 166_932, modules: ['bch', 'loop', 'lru_cache', 'raid6_pq', 'sch_netem'] },
  '7.3': {
    sites: 47_382,
    symbols: 209_812,
    modules: ['bch', 'loop', 'lru_cache', 'nls_utf8', 'raid6_pq', 'sch_netem'],
  },
} as const;

function run(machine: Machine, program: string, args: readonly string[]): string {
  const task = machine.spawn(program, args);
  machine.runUntil(() => machine.exitStatus(task) !== undefined, 60e9);
  expect([program, ...args, machine.exitStatus(task)]).toEqual([program, ...args, 0]);
  return machine.stdout(task);
}

/** The modules of the kernel that an image is of, by name; undefined where they are not beside it. */
function modulesOf(image: string, release: string): ((name: string) => Uint8Array) | undefined {
  const root = ['../lib/modules', '../usr/lib/modules', '..']
    .map((at) => join(dirname(image), at, release, 'kernel'))
    .find((at) => statSync(at, { throwIfNoEntry: false }));
  if (root === undefined) return undefined;
  const paths = readdirSync(root, { recursive: true, encoding: 'utf8' });
  return (name) => {
    const path = paths.find((one) => basename(one).replace(/\.xz$/, '') === `${name}.ko`);
    if (path === undefined) throw new Error(`there is no ${name}.ko in ${root}`);
    return unpack(new Uint8Array(readFileSync(join(root, path))), path);
  };
}

function settled(machine: Machine): void {
  expect(machine.runUntil(() => !machine.inspect.livepatch.transitionPatch, 60e9)).toBe(true);
}

/** The template, for another function: its name is not longer. */
function patchOf(template: Uint8Array, name: string): Uint8Array {
  const bytes = Buffer.from(template);
  for (let at = bytes.indexOf(`\0${NAME}\0`); at >= 0; at = bytes.indexOf(`\0${NAME}\0`, at + 1))
    bytes.write(name.padEnd(NAME.length, '\0'), at + 1, 'latin1');
  return new Uint8Array(bytes);
}

const images = { '6.1': vmlinuzOf('6.1'), '6.12': vmlinuzOf('6.12'), '7.3': vmlinuzOf('7.3') };

describe.each(['6.1', '6.12', '7.3'] as const)('Debian %s under the machine', (series) => {
  const file = images[series];
  const facts = KERNELS[series];
  let machine: Machine;
  let patch: Uint8Array;
  beforeAll(async () => {
    if (!file) return;
    machine = await Machine.boot({ kernel: file });
    patch = moduleFor(new Uint8Array(PATCH), openKernel(file, X86_64));
  });
  beforeEach((context) => {
    if (!file) context.skip(`the image of Debian's ${series} is not here and could not be fetched`);
  });
  afterAll(() => machine?.close());

  const load = (bytes: Uint8Array): void => {
    machine.addFile('/lib/modules/patch.ko', bytes);
    const task = machine.insmod('/lib/modules/patch.ko');
    machine.runUntil(() => machine.exitStatus(task) !== undefined, 60e9);
    expect([machine.exitStatus(task), machine.dmesg().at(-1)]).toEqual([0, expect.anything()]);
    settled(machine);
  };
  const unload = (): void => {
    run(machine, 'echo', ['0', `/sys/kernel/livepatch/${PATCH_NAME}/enabled`]);
    settled(machine);
    // The patch lets go of its module in a work item.
    const { modules } = machine.inspect;
    expect(machine.runUntil(() => modules.find(PATCH_NAME)?.refcount === 0, 60e9)).toBe(true);
    run(machine, 'rmmod', [PATCH_NAME]);
  };

  it('answers /proc/version and /proc/cmdline by its own functions', () => {
    const version = run(machine, 'cat', ['/proc/version']);
    expect(/^Linux version (\S+) .* Debian \d/.exec(version)?.[1]).toBe(DEBIAN_KERNELS[series].release);
    expect(run(machine, 'cat', ['/proc/cmdline'])).toBe('BOOT_IMAGE=klpemu root=/dev/ram0 quiet\n');
    const { symbols } = machine.inspect.core;
    for (const name of ['version_proc_show', NAME])
      expect(symbols.matches(name, undefined).map(({ addr }) => addr < 0xffffffff82000000n)).toEqual([true]);
  });

  it('takes modules of that kernel, which run its own functions', (context) => {
    const modules = modulesOf(file as string, DEBIAN_KERNELS[series].release);
    if (!modules) return context.skip('its modules are not beside the image');
    // bch_init() and raid6 have code of their own to run; the others call what nothing of ours stands for.
    for (const name of facts.modules) {
      machine.addFile(`/lib/modules/${name}.ko`, modules(name));
      const task = machine.insmod(`/lib/modules/${name}.ko`);
      machine.runUntil(() => machine.exitStatus(task) !== undefined, 600e9);
      expect([name, machine.exitStatus(task)]).toEqual([name, 0]);
    }
    expect(
      run(machine, 'cat', ['/proc/modules'])
        .split('\n')
        .map((line) => line.split(' ')[0]),
    ).toContain('sch_netem');
    // blk-mq notes the queue in the inode of its directory, and shows it by its own functions.
    if (series !== '7.3')
      expect(run(machine, 'cat', ['/sys/kernel/debug/block/loop0/state'])).toMatch(
        /^SAME_COMP\|.*REGISTERED/,
      );
  });

  it('has the functions that docs/native-functions.md tells', async () => {
    const image = await loadRealImage(openKernel(file as string, X86_64), X86_64, 'orc');
    const page = readFileSync(join(import.meta.dirname, '../../docs/native-functions.md'), 'utf8');
    if (page.startsWith(`# Native and hosted functions of ${image.kernel.release}\n`))
      expect(functionsPage(image)).toBe(page);
  });

  it('has the fentry sites of all of its functions, and its symbols', () => {
    const { ftrace, core } = machine.inspect;
    expect(ftrace.disabled).toBe(false);
    // Those of the modules that were loaded before come behind them.
    const own = [...ftrace.records.listed(core)].filter(({ module }) => module === undefined);
    expect(own.length).toBe(facts.sites);
    const lines = run(machine, 'cat', ['/proc/kallsyms']).trimEnd().split('\n');
    expect(lines.filter((line) => !line.endsWith(']')).length).toBe(facts.symbols);
  });

  it('has its own cmdline_proc_show livepatched, and back', () => {
    load(patch);
    expect(run(machine, 'cat', ['/proc/cmdline'])).toBe('klpdemo: this command line was livepatched\n');
    unload();
    expect(run(machine, 'cat', ['/proc/cmdline'])).toBe('BOOT_IMAGE=klpemu root=/dev/ram0 quiet\n');
  });

  it('has livepatches of functions that are drawn from its own, and is byte for byte as before', () => {
    const { ftrace, core, livepatch } = machine.inspect;
    const { symbols, mem } = core;
    const { native } = openKernel(file as string, X86_64);
    const { addr: start, size } = native.text;
    // Not hosted ones: some of them run in each command, which would stop in what the template puts in their place.
    const sites = [...ftrace.records.all()]
      .filter(({ ip, module }) => module === undefined && ip < start + BigInt(size))
      .flatMap(({ ip }) => {
        const found = symbols.lookup(ip);
        return found && found.offset <= core.arch.fentry.maxOffset ? [{ ip, name: found.name }] : [];
      })
      .filter(({ name }) => name.length <= NAME.length && symbols.matches(name, undefined).length === 1);
    const step = Math.floor(sites.length / COUNT);
    const drawn = Array.from({ length: COUNT }, (_, i) => sites[i * step + (i % step)]);
    const before = mem.readBytes(start, size);
    for (const { name, ip } of drawn) {
      load(patchOf(patch, name));
      expect([name, mem.readU8(ip)]).toEqual([name, 0xe8]);
      unload();
    }
    expect(Buffer.compare(mem.readBytes(start, size), before)).toBe(0);
    expect(livepatch.transitionPatch).toBeUndefined();
  });
});

const COUNT = 300;
