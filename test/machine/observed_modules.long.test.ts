// What Debian's 6.1, 6.12 and 7.3 were seen to do with the modules of fixtures/observed, on the emulated machine with those
// kernels under it: tasks that sleep in functions that are livepatched, and livepatches with one fault each.
//
// Of frames of the kernel's own text those are compared that are its own code here; hosted ones have other offsets
// (docs/your-kernel.md).

import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { Machine } from '../../src/machine/machine.ts';
import { Shell } from '../../src/shell/shell.ts';
import { vmlinuzOf } from '../vmlinuz/debian_kernels.ts';
import { observedModules } from '../vmlinuz/observed_modules.ts';

const LIVEPATCH = '/sys/kernel/livepatch';
const SECOND = 1e9;
const [EBUSY, EEXIST, EINVAL] = [16, 17, 22];

const SERIES = ['6.1', '6.12', '7.3'] as const;

interface Facts {
  /** Of an init that returns -EEXIST. */
  readonly twice: number;
  readonly kobject: string;
  /** Sizes in /proc/modules. */
  readonly sizes: Readonly<Record<'gt_sleep' | 'gt_sleep_lp', number>>;
  /** Frames of the module's own functions, innermost first. */
  readonly interruptible: readonly string[];
  readonly uninterruptible: readonly string[];
  readonly thread: readonly string[];
  readonly patchedThread: RegExp;
}

const FACTS: Readonly<Record<(typeof SERIES)[number], Facts>> = {
  '6.1': {
    twice: EEXIST,
    kobject: '',
    sizes: { gt_sleep: 16384, gt_sleep_lp: 16384 },
    interruptible: ['gt_sleep_int_fn+0x8a/0xd0', 'rd_i+0xb/0x30'],
    uninterruptible: ['gt_sleep_unint_fn+0x81/0xc0', 'rd_u+0xb/0x30'],
    thread: ['gt_kth_fn+0x2d/0x40', 'kth+0xc/0x1c'],
    patchedThread: /^lp_kth\+0x35\/0x\w+$/,
  },
  '6.12': {
    twice: EEXIST,
    kobject: 'kobject: ',
    sizes: { gt_sleep: 12288, gt_sleep_lp: 16384 },
    interruptible: ['gt_sleep_int_fn+0x93/0xd0', 'rd_i+0xf/0x30'],
    uninterruptible: ['gt_sleep_unint_fn+0x8a/0xd0', 'rd_u+0xe/0x30'],
    thread: ['gt_kth_fn+0x31/0x40', 'kth+0x10/0x20'],
    patchedThread: /^lp_kth\+0x39\/0x\w+$/,
  },
  '7.3': {
    twice: EBUSY,
    kobject: 'kobject: ',
    sizes: { gt_sleep: 16384, gt_sleep_lp: 20480 },
    interruptible: ['gt_sleep_int_fn+0x91/0xe0', 'rd_i+0xf/0x30'],
    uninterruptible: ['gt_sleep_unint_fn+0x8c/0xd0', 'rd_u+0xe/0x30'],
    thread: ['gt_kth_fn+0x4e/0x50', 'kth+0x10/0x20'],
    patchedThread: /^lp_kth\+0x47\/0x\w+$/,
  },
};

describe.each(SERIES)('Debian %s with modules that it was observed with', (series) => {
  const facts = FACTS[series];
  const image = vmlinuzOf(series);
  const built = image === undefined ? { why: `no ${series}` } : observedModules(series);
  let machine: Machine;
  let shell: Shell;
  let seen = 0;

  beforeEach((context) => {
    if ('why' in built) context.skip(built.why);
  });
  beforeAll(async () => {
    if ('why' in built) return;
    machine = await Machine.boot({ kernel: image as string });
    shell = new Shell(machine);
    // All that livepatch says, as when it was observed.
    const control = '/sys/kernel/debug/dynamic_debug/control';
    await sh(`echo 'file kernel/livepatch/* +p' > ${control}`);
    await sh(`echo 'func klp_try_switch_task -p' > ${control}`);
  });
  afterAll(() => machine?.close());

  const sh = (line: string) => shell.execute(line);
  const out = async (line: string): Promise<string> => {
    const { status, stdout, stderr } = await sh(line);
    expect([line, status, stderr]).toEqual([line, 0, '']);
    return stdout.trimEnd();
  };
  /** What was said since the last time, without times. */
  const said = (): string[] => {
    const { printk } = machine.inspect.core;
    const lines = printk.since(seen).map(({ text }) => text);
    seen = printk.nextSeq;
    return lines;
  };
  const settle = (): void => {
    machine.runUntil(() => !machine.inspect.livepatch.transitionPatch, 60 * SECOND);
    machine.runFor(SECOND);
  };
  const load = (name: string): number | undefined => {
    if ('why' in built) return undefined;
    machine.addFile(`/${name}.ko`, new Uint8Array(readFileSync(join(built.folder, `${name}.ko`))));
    const task = machine.insmod(`/${name}.ko`);
    machine.runUntil(() => machine.exitStatus(task) !== undefined, 60 * SECOND);
    return machine.exitStatus(task);
  };

  it('was built for', () => {
    expect(existsSync(join('why' in built ? '' : built.folder, 'gt_sleep.ko'))).toBe(true);
  });

  it('has stacks of the functions that it has, where docs/differences.md does not say otherwise', async () => {
    const functions = async (pid: string): Promise<string[]> =>
      (await out(`cat /proc/${pid}/stack`)).split('\n').map((line) => /\] (\w+)\+/.exec(line)?.[1] ?? line);
    expect(await functions('self')).toEqual([
      ...['proc_pid_stack', 'proc_single_show', 'seq_read_iter', 'seq_read', 'vfs_read', 'ksys_read'],
      ...['do_syscall_64', 'entry_SYSCALL_64_after_hwframe'],
    ]);
    expect(await functions('2')).toEqual(['kthreadd', 'ret_from_fork']);
    expect(await out('cat /proc/2/wchan')).toBe('kthreadd');
    expect(await out("stat -c '%a' /proc/1/stack /proc/1/patch_state /proc/1/wchan")).toBe('400\n400\n444');
  });

  const absent = (name: string): string => `livepatch: symbol '${name}' not found in symbol table`;
  const refused: readonly (readonly [string, string, readonly string[]])[] = [
    ['of a function that it has not', 'h9_nosuch', [absent('h9_no_such_function')]],
    [
      'of a second function of a name that is one',
      'h9_sympos2',
      ["livepatch: symbol position 2 for symbol 'cmdline_proc_show' in object 'vmlinux' not found"],
    ],
    ['of no name', 'h9_nullold', []],
    ['of the name ""', 'h9_emptyold', [absent('')]],
    ['with no new function', 'h9_nullnew', []],
    ['with no functions', 'h9_nofuncs', []],
    ['with no objects', 'h9_noobjs', []],
    ['that is not marked', 'h9_noinfo', ['livepatch: module h9_noinfo is not marked as a livepatch module']],
    ['of an object of a name that is too long', 'h9_longobj', []],
    ['of a function of a name that is too long', 'h9_longsym', []],
  ];
  it.each(refused)('refuses a patch %s with EINVAL', async (_, name, words) => {
    said();
    expect(load(name)).toBe(EINVAL);
    expect(said().filter((line) => !line.startsWith(`${name}: `) && !isTaint(line))).toEqual(words);
    expect(await out(`ls ${LIVEPATCH}`)).toBe('');
    expect((await sh(`rmmod ${name}`)).stderr).toBe(`rmmod: ERROR: Module ${name} is not currently loaded\n`);
  });

  it.each([
    ['a function', 'h9_functwice', 'vmlinux/cmdline_proc_show,1'],
    ['vmlinux', 'h9_objtwice', 'vmlinux'],
    ['a module that is not there', 'h9_modtwice', 'gt_sleep'],
  ])('refuses a patch that has %s twice', async (_, name, twice) => {
    said();
    expect(load(name)).toBe(facts.twice);
    const lines = said();
    expect(lines).toContain(`sysfs: cannot create duplicate filename '/kernel/livepatch/${name}/${twice}'`);
    expect(lines).toContain(
      `${facts.kobject}kobject_add_internal failed for ${twice.split('/').at(-1)} with -EEXIST, don't try to register things with the same name in the same directory.`,
    );
    expect(lines.filter((line) => line.startsWith('livepatch: '))).toEqual([]);
    expect(await out(`ls ${LIVEPATCH}`)).toBe('');
  });

  it('takes a first one of a name that is one', async () => {
    expect(load('h9_sympos1')).toBe(0);
    settle();
    await out(`echo 0 > ${LIVEPATCH}/h9_sympos1/enabled`);
    settle();
    await out('rmmod h9_sympos1');
  });

  it('refuses a module that lacks the function of a patch that is in force', async () => {
    expect(load('h9_missmod')).toBe(0);
    settle();
    expect((await out(`ls ${LIVEPATCH}/h9_missmod/gt_sleep`)).split('\n')).toEqual([
      'h9_no_such_function,1',
      'patched',
    ]);
    expect(await out(`cat ${LIVEPATCH}/h9_missmod/gt_sleep/patched`)).toBe('0');
    said();
    expect(load('gt_sleep')).toBe(EINVAL);
    expect(said().filter((line) => line.startsWith('livepatch: '))).toEqual([
      absent('h9_no_such_function'),
      "livepatch: failed to initialize patch 'h9_missmod' for module 'gt_sleep' (-22)",
      "livepatch: patch 'h9_missmod' failed for module 'gt_sleep', refusing to load module 'gt_sleep'",
    ]);
    await out(`echo 0 > ${LIVEPATCH}/h9_missmod/enabled`);
    settle();
    await out('rmmod h9_missmod');
  });

  it('has tasks that sleep in patched functions leave them, or not, as it was seen', async () => {
    const patch = `${LIVEPATCH}/gt_sleep_lp`;
    const own = async (pid: string, module: string): Promise<string[]> =>
      (await out(`cat /proc/${pid}/stack`))
        .split('\n')
        .filter((line) => line.endsWith(` [${module}]`))
        .map((line) => line.slice('[<0>] '.length, -` [${module}]`.length));
    const state = async (pid: string): Promise<string> =>
      `${await out(`cat /proc/${pid}/patch_state`)} ${(await out(`grep State /proc/${pid}/status`)).split(/\s+/)[1]}`;
    const transition = (): Promise<string> => out(`cat ${patch}/transition`);
    const since = (): string[] => said().filter((line) => /^(livepatch: |gt_sleep)/.test(line));

    expect(load('gt_sleep')).toBe(0);
    const reader = await out('start cat /proc/gt_sleep_int');
    const blocked = await out('start cat /proc/gt_sleep_unint');
    const kthread = (await out('ps')).split('\n').find((line) => line.endsWith('[gt_kth]')) as string;
    const thread = kthread.trim().split(' ')[0];
    machine.runFor(SECOND);
    expect(await own(reader, 'gt_sleep')).toEqual(facts.interruptible);
    expect(await own(blocked, 'gt_sleep')).toEqual(facts.uninterruptible);
    expect(await own(thread, 'gt_sleep')).toEqual(facts.thread);
    expect(await out(`cat /proc/${reader}/wchan`)).toBe('gt_sleep_int_fn');
    expect(await out(`cat /proc/${blocked}/wchan`)).toBe('gt_sleep_unint_fn');

    said();
    expect(load('gt_sleep_lp')).toBe(0);
    machine.runFor(5 * SECOND);
    expect(await Promise.all([thread, reader, blocked].map(state))).toEqual(['0 S', '0 S', '0 D']);
    expect((await out(`ls ${patch}/gt_sleep`)).split('\n')).toEqual([
      'gt_kth_fn,1',
      'gt_sleep_int_fn,1',
      'gt_sleep_unint_fn,1',
      'patched',
    ]);
    expect(await out(`cat ${patch}/gt_sleep/patched`)).toBe('1');
    machine.runFor(13 * SECOND);
    // The interruptible reader restarts, through the new function; the thread is woken, and enters the old one again.
    const lines = since();
    expect(lines.slice(0, 4)).toEqual([
      "livepatch: enabling patch 'gt_sleep_lp'",
      "livepatch: 'gt_sleep_lp': initializing patching transition",
      "livepatch: 'gt_sleep_lp': starting patching transition",
      'livepatch: signaling remaining tasks',
    ]);
    const after = lines.slice(4);
    expect([...after].sort()).toEqual([
      'gt_sleep: gt_kth_fn ORIGINAL returned',
      'gt_sleep: int read returns -512',
      'gt_sleep: int read returns 0',
      'gt_sleep_lp: PATCHED int',
    ]);
    expect(after.filter((line) => line.includes('int') && !line.includes('kth'))).toEqual([
      'gt_sleep: int read returns -512',
      'gt_sleep_lp: PATCHED int',
      'gt_sleep: int read returns 0',
    ]);
    expect((await sh(`cat /proc/${reader}/stack`)).status).not.toBe(0);
    expect(await Promise.all([thread, blocked].map(state))).toEqual(['0 S', '0 D']);
    expect(await own(thread, 'gt_sleep')).toEqual(facts.thread);
    // Signals are sent again after 15 s more, and told once.
    machine.runFor(20 * SECOND);
    expect(since()).toEqual(['gt_sleep: gt_kth_fn ORIGINAL returned']);

    await out('echo 1 > /sys/module/gt_sleep/parameters/release');
    machine.runFor(SECOND);
    expect(await transition()).toBe('1');
    await out('echo 1 > /sys/module/gt_sleep/parameters/kick');
    machine.runFor(SECOND);
    expect(await state(thread)).toBe('0 S');
    expect(since()).toEqual(['gt_sleep: unint read returns 0', 'gt_sleep: gt_kth_fn ORIGINAL returned']);

    await out(`echo 1 > ${patch}/force`);
    settle();
    expect(await transition()).toBe('0');
    expect(await own(thread, 'gt_sleep')).toEqual(facts.thread);
    await out('echo 1 > /sys/module/gt_sleep/parameters/kick');
    machine.runFor(SECOND);
    const [inner] = await own(thread, 'gt_sleep_lp');
    expect(inner).toMatch(facts.patchedThread);
    expect(since()).toEqual([
      'livepatch: forcing remaining tasks to the patched state',
      "livepatch: 'gt_sleep_lp': completing patching transition",
      "livepatch: 'gt_sleep_lp': patching complete",
      'gt_sleep: gt_kth_fn ORIGINAL returned',
      'gt_sleep_lp: PATCHED kth',
    ]);

    await out(`echo 0 > ${patch}/enabled`);
    machine.runFor(3 * SECOND);
    expect(await state(thread)).toBe('1 S');
    expect(await out('cat /sys/module/gt_sleep_lp/refcnt')).toBe('1');
    await out(`echo 1 > ${patch}/enabled`);
    settle();
    expect([await out(`cat ${patch}/enabled`), await transition()]).toEqual(['1', '0']);
    await out(`echo 0 > ${patch}/enabled`);
    machine.runFor(SECOND);
    expect([await out(`cat ${patch}/enabled`), await transition()]).toEqual(['0', '1']);
    expect(since()).toEqual([
      "livepatch: 'gt_sleep_lp': initializing unpatching transition",
      "livepatch: 'gt_sleep_lp': starting unpatching transition",
      "livepatch: 'gt_sleep_lp': reversing transition from unpatching to patching",
      "livepatch: 'gt_sleep_lp': starting patching transition",
      "livepatch: 'gt_sleep_lp': completing patching transition",
      "livepatch: 'gt_sleep_lp': patching complete",
      "livepatch: 'gt_sleep_lp': initializing unpatching transition",
      "livepatch: 'gt_sleep_lp': starting unpatching transition",
    ]);

    // Forced, it stays for good.
    await out(`echo 1 > ${patch}/force`);
    settle();
    expect(await out(`ls ${LIVEPATCH}`)).toBe('');
    expect(await out('cat /sys/module/gt_sleep_lp/refcnt /sys/module/gt_sleep_lp/initstate')).toBe('1\nlive');
    expect((await sh('rmmod gt_sleep_lp')).stderr).toBe('rmmod: ERROR: Module gt_sleep_lp is in use\n');
    expect(load('gt_sleep_lp')).toBe(EEXIST);
    expect((await own(thread, 'gt_sleep_lp'))[0]).toMatch(facts.patchedThread);
    expect(await out('cat /sys/kernel/tracing/enabled_functions')).toBe('');
    expect(since()).toEqual([
      'livepatch: forcing remaining tasks to the patched state',
      "livepatch: 'gt_sleep_lp': completing unpatching transition",
      "livepatch: 'gt_sleep_lp': unpatching complete",
    ]);
    const { gt_sleep, gt_sleep_lp } = facts.sizes;
    expect((await out('cat /proc/modules')).split('\n').map((line) => line.replace(/ - .*/, ''))).toEqual([
      `gt_sleep_lp ${gt_sleep_lp} 1`,
      `gt_sleep ${gt_sleep} 0`,
    ]);
  });
});

const isTaint = (line: string): boolean => /taint/.test(line);
