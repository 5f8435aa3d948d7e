// A transition that stalls on a worker, with the kernel's own test modules: turned round, met by a module that loads,
// forced. What a real 6.1.0-56 said and showed at each step is what is expected here. Only there where those modules
// have been built (npm run samples).

import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { Machine } from '../../src/machine/machine.ts';
import { Shell } from '../../src/shell/shell.ts';
import { checkInvariants } from '../properties/audit.ts';
import { kernelModules } from './kernel_modules.ts';

const built = kernelModules();
const modules = typeof built === 'string' ? new Map<string, Uint8Array>() : built;
const without = typeof built === 'string' ? ` (${built})` : '';

const DEMO = '/sys/kernel/livepatch/test_klp_callbacks_demo';
const BUSY = '[MODULE_STATE_LIVE] Normal state';
let machine: Machine;
let shell: Shell;

/** What a person would see of a line: output, errors, and the exit status where that is not 0. */
async function sh(line: string): Promise<string> {
  const { stdout, stderr, status } = await shell.execute(line);
  return stdout + stderr + (status === 0 ? '' : `[exit status ${status}]\n`);
}

/** What the log has since the last time, without times, numbers of tasks, and who happened to run. */
async function log(): Promise<string[]> {
  const text = await sh('dmesg -t; dmesg -C');
  const lines = text
    .trimEnd()
    .split('\n')
    .map((line) => line.replace(/kworker\/\d:\d:\d+/, 'kworker'));
  return lines.filter(
    (line, i) => !/is running$|tainting kernel|taints kernel/.test(line) && lines.indexOf(line) === i,
  );
}

/** mode octal type nlink path, of a directory and all below, and what the files of it have in them. */
async function tree(path: string): Promise<string[]> {
  const stat = (await sh(`stat -c "%A %a %U:%G %F size=%s nlink=%h %n" ${path}`)).trimEnd();
  if (!stat.includes(' directory ')) {
    const text = stat.startsWith('-r') ? (await sh(`cat ${path}`)).trimEnd() : '';
    return [text === '' ? stat : `${stat} = ${text}`];
  }
  const below: string[] = [];
  for (const name of (await sh(`ls ${path}`)).split('\n').filter(Boolean))
    below.push(...(await tree(`${path}/${name}`)));
  return [stat, ...below];
}

/** How many tasks have each patch_state. */
function states(): Record<number, number> {
  const counts: Record<number, number> = { [-1]: 0, 0: 0, 1: 0 };
  for (const task of machine.inspect.core.tasks.processes()) counts[task.patchState]++;
  return counts;
}

const file = (path: string, text: string): string =>
  `-r--r--r-- 444 root:root regular file size=4096 nlink=1 ${DEMO}/${path} = ${text}`;
const dir = (path: string, nlink: number): string =>
  `drwxr-xr-x 755 root:root directory size=0 nlink=${nlink} ${DEMO}${path}`;
/** The tree of the patch. Whether the modules are patched, and whether the transition is under way. */
const patchTree = ({ mod, transition }: { mod: string; transition: string }): string[] => [
  dir('', 5),
  `-rw-r--r-- 644 root:root regular file size=4096 nlink=1 ${DEMO}/enabled = 1`,
  `--w------- 200 root:root regular file size=4096 nlink=1 ${DEMO}/force`,
  dir('/test_klp_callbacks_busy', 3),
  dir('/test_klp_callbacks_busy/busymod_work_func,1', 2),
  file('test_klp_callbacks_busy/patched', '1'),
  dir('/test_klp_callbacks_mod', 2),
  file('test_klp_callbacks_mod/patched', mod),
  file('transition', transition),
  dir('/vmlinux', 2),
  file('vmlinux/patched', '1'),
];
const procModules = async (): Promise<string[]> =>
  (await sh('cat /proc/modules'))
    .trimEnd()
    .split('\n')
    .map((line) => line.replace(/0xf\w+/, '0x'));
const starting = (which: string): string =>
  `livepatch: 'test_klp_callbacks_demo': starting ${which} transition`;
const SLEEPS = 'livepatch: klp_try_switch_task: kworker is sleeping on function busymod_work_func';
const ENABLING = [
  "livepatch: enabling patch 'test_klp_callbacks_demo'",
  "livepatch: 'test_klp_callbacks_demo': initializing patching transition",
  'test_klp_callbacks_demo: pre_patch_callback: vmlinux',
  `test_klp_callbacks_demo: pre_patch_callback: test_klp_callbacks_busy -> ${BUSY}`,
  starting('patching'),
  SLEEPS,
];

describe.skipIf(modules.size === 0)(`a stalled transition, as on a real kernel${without}`, () => {
  beforeAll(async () => {
    machine = await Machine.boot({ debug: true });
    const store = [...modules].map(([name, bytes]) => ({ name: `${name}.ko`, bytes }));
    shell = new Shell(machine, { modules: () => store });
    shell.context.modules.depmod();
    await sh('start sleep 1000000; dmesg -C');
  });
  afterAll(() => {
    expect(checkInvariants(machine)).toEqual([]);
    machine.close();
  });

  it('waits for the one task that stands in the function, and lets nothing else begin', async () => {
    expect(await sh('modprobe test_klp_callbacks_busy block_transition=Y; sleep 1')).toBe('');
    expect(await sh('modprobe test_klp_callbacks_demo; sleep 2.5')).toBe('');
    expect(await log()).toEqual([
      'test_klp_callbacks_busy: test_klp_callbacks_busy_init',
      'test_klp_callbacks_busy: busymod_work_func enter',
      ...ENABLING,
    ]);
    expect(await tree(DEMO)).toEqual(patchTree({ mod: '0', transition: '1' }));
    expect(states()).toMatchObject({ [-1]: 0, 0: 1 });
    const worker = [...machine.inspect.core.tasks.processes()].find((task) => task.patchState === 0);
    expect(worker?.comm).toMatch(/^kworker\//);
    expect((await sh(`cat /proc/${worker?.pid}/stack`)).replace(/\+0x\w+\/0x\w+/g, '')).toBe(
      '[<0>] msleep\n[<0>] busymod_work_func [test_klp_callbacks_busy]\n[<0>] process_one_work\n' +
        '[<0>] worker_thread\n[<0>] kthread\n[<0>] ret_from_fork\n',
    );
    const enabled = await sh('cat /sys/kernel/debug/tracing/enabled_functions');
    expect(enabled.replace(/0xf\w+/, '0x').replace(/0x0\/0x\w+/g, '0x0')).toBe(
      'busymod_work_func [test_klp_callbacks_busy] (1)   I  \ttramp: 0x (klp_ftrace_handler+0x0) ->klp_ftrace_handler+0x0\n',
    );
    expect(await procModules()).toEqual([
      'test_klp_callbacks_demo 16384 1 - Live 0x (OEK)',
      'test_klp_callbacks_busy 16384 0 - Live 0x (OE)',
    ]);
    expect(await sh(`echo 1 > ${DEMO}/enabled`)).toBe(
      'klpemu: echo: write error: Invalid argument\n[exit status 1]\n',
    );
    expect(await sh('rmmod test_klp_callbacks_demo')).toBe(
      'rmmod: ERROR: Module test_klp_callbacks_demo is in use\n[exit status 1]\n',
    );
    expect(await sh('modprobe test_klp_livepatch')).toBe(
      "modprobe: ERROR: could not insert 'test_klp_livepatch': Device or resource busy\n[exit status 1]\n",
    );
    const sleeper = await sh('start sleep 50; sleep 0.01');
    expect(sleeper).not.toContain('exit status');
    expect(states()).toMatchObject({ 0: 1 });
  });

  it('is signalled after 15 seconds, to no avail, and turned round', async () => {
    await sh('dmesg -C; sleep 15');
    expect(await log()).toEqual([SLEEPS, 'livepatch: signaling remaining tasks']);
    expect(states()).toMatchObject({ 0: 1 });
    expect(await sh(`echo 0 > ${DEMO}/enabled; sleep 2`)).toBe('');
    expect(await log()).toEqual([
      "livepatch: 'test_klp_callbacks_demo': reversing transition from patching to unpatching",
      starting('unpatching'),
      "livepatch: 'test_klp_callbacks_demo': completing unpatching transition",
      'test_klp_callbacks_demo: post_unpatch_callback: vmlinux',
      `test_klp_callbacks_demo: post_unpatch_callback: test_klp_callbacks_busy -> ${BUSY}`,
      "livepatch: 'test_klp_callbacks_demo': unpatching complete",
    ]);
    expect(await sh('ls /sys/kernel/livepatch')).toBe('');
    expect(await sh('cat /sys/kernel/debug/tracing/enabled_functions')).toBe('');
    expect(await sh('rmmod test_klp_callbacks_demo')).toBe('');
  });

  it('does not keep a module from being loaded, patched, and unloaded', async () => {
    expect(await sh('modprobe test_klp_callbacks_demo; sleep 1.2; modprobe test_klp_callbacks_mod')).toBe('');
    expect(await tree(DEMO)).toEqual(patchTree({ mod: '1', transition: '1' }));
    expect(await sh('rmmod test_klp_callbacks_mod')).toBe('');
    expect(await tree(DEMO)).toEqual(patchTree({ mod: '0', transition: '1' }));
    expect(await log()).toEqual([
      ...ENABLING,
      "livepatch: applying patch 'test_klp_callbacks_demo' to loading module 'test_klp_callbacks_mod'",
      'test_klp_callbacks_demo: pre_patch_callback: test_klp_callbacks_mod -> [MODULE_STATE_COMING] Full formed, running module_init',
      'test_klp_callbacks_mod: test_klp_callbacks_mod_init',
      'test_klp_callbacks_mod: test_klp_callbacks_mod_exit',
      "livepatch: reverting patch 'test_klp_callbacks_demo' on unloading module 'test_klp_callbacks_mod'",
      'test_klp_callbacks_demo: post_unpatch_callback: test_klp_callbacks_mod -> [MODULE_STATE_GOING] Going away',
    ]);
  });

  it('is forced by a 1, at the next retry, and the patch can be disabled and unloaded after that', async () => {
    expect(await sh(`echo 0 > ${DEMO}/force; cat ${DEMO}/transition`)).toBe('1\n');
    expect(await sh(`echo 1 > ${DEMO}/force; cat ${DEMO}/transition`)).toBe('1\n');
    expect(states()).toMatchObject({ 0: 0 });
    expect(await sh(`sleep 1.5; cat ${DEMO}/transition`)).toBe('0\n');
    expect(await tree(DEMO)).toEqual(patchTree({ mod: '0', transition: '0' }));
    expect(states()).toMatchObject({ 0: 0, 1: 0 });
    expect(await sh('cat /proc/sys/kernel/tainted')).toBe('45056\n');
    expect(await log()).toEqual([
      'livepatch: forcing remaining tasks to the patched state',
      "livepatch: 'test_klp_callbacks_demo': completing patching transition",
      'test_klp_callbacks_demo: post_patch_callback: vmlinux',
      `test_klp_callbacks_demo: post_patch_callback: test_klp_callbacks_busy -> ${BUSY}`,
      "livepatch: 'test_klp_callbacks_demo': patching complete",
    ]);
    // The worker is in the old function all the while.
    expect(await sh(`echo 0 > ${DEMO}/enabled; sleep 2`)).toBe('');
    expect((await procModules())[0]).toBe('test_klp_callbacks_demo 16384 0 - Live 0x (OEK)');
    expect(await sh('rmmod test_klp_callbacks_demo')).toBe('');
    expect(await sh('echo N > /sys/module/test_klp_callbacks_busy/parameters/block_transition')).toBe('');
    expect(await sh('rmmod test_klp_callbacks_busy')).toBe('');
    expect(await log()).toEqual([
      "livepatch: 'test_klp_callbacks_demo': initializing unpatching transition",
      'test_klp_callbacks_demo: pre_unpatch_callback: vmlinux',
      `test_klp_callbacks_demo: pre_unpatch_callback: test_klp_callbacks_busy -> ${BUSY}`,
      starting('unpatching'),
      "livepatch: 'test_klp_callbacks_demo': completing unpatching transition",
      'test_klp_callbacks_demo: post_unpatch_callback: vmlinux',
      `test_klp_callbacks_demo: post_unpatch_callback: test_klp_callbacks_busy -> ${BUSY}`,
      "livepatch: 'test_klp_callbacks_demo': unpatching complete",
      'test_klp_callbacks_busy: busymod_work_func exit',
      'test_klp_callbacks_busy: test_klp_callbacks_busy_exit',
    ]);
  });

  it('was told of, line by line, for as long as dynamic debug is on', async () => {
    const control = '/sys/kernel/debug/dynamic_debug/control';
    const round =
      'modprobe test_klp_livepatch; sleep 3; echo 0 > /sys/kernel/livepatch/test_klp_livepatch/enabled; sleep 3; rmmod test_klp_livepatch';
    expect(await sh(`echo 'file kernel/livepatch/* -p' > ${control}; dmesg -C; ${round}`)).toBe('');
    expect(await log()).toEqual([
      "livepatch: enabling patch 'test_klp_livepatch'",
      "livepatch: 'test_klp_livepatch': starting patching transition",
      "livepatch: 'test_klp_livepatch': patching complete",
      "livepatch: 'test_klp_livepatch': starting unpatching transition",
      "livepatch: 'test_klp_livepatch': unpatching complete",
    ]);
    expect(await sh(`echo 'file kernel/livepatch/* +p' > ${control}; ${round}`)).toBe('');
    expect(await log()).toContain("livepatch: 'test_klp_livepatch': initializing patching transition");
  });
});
