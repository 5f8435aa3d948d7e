// What Debian's 6.1, 6.12 and 7.3 were seen to do, on the emulated machine with those kernels under it, statement by
// statement. Their modules are those of their own selftests, and some made of them with one thing changed.
//
// Left out is what docs/differences.md and docs/your-kernel.md say is ours: addresses, and sizes and frames of hosted functions.

import { createHash } from 'node:crypto';
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { X86_64 } from '../../src/arch/x86_64/x86_64.ts';
import { BUILT_IN } from '../../src/kernel/description.ts';
import { Machine } from '../../src/machine/machine.ts';
import { openKernel } from '../../src/machine/native/cache.ts';
import { Shell } from '../../src/shell/shell.ts';
import { Mutant } from '../vet/mutant.ts';
import { selftestsOf } from '../vmlinuz/debian_selftests.ts';

const SERIES = ['6.1', '6.12', '7.3'] as const;
type Series = (typeof SERIES)[number];
const LIVEPATCH = '/sys/kernel/livepatch';
const PATCH = 'test_klp_livepatch';
const TRACING = '/sys/kernel/debug/tracing';
const SITE_NOP = '0f 1f 44 00 00';
const SECOND = 1e9;

interface Facts {
  readonly symbols: number;
  readonly padding: number;
  /** Lines of available_filter_functions without modules, and what they and the second and third words of /proc/kallsyms hash to. */
  readonly sites: number;
  readonly listed: string;
  readonly named: string;
  /** Names in available_filter_functions of a kind. */
  readonly traced: Readonly<Record<'ambiguous' | 'compiled', number>>;
  readonly first: readonly string[];
  readonly firstSymbol: RegExp;
  /** Bytes of a function before its fentry site. */
  readonly before: string;
  readonly files: readonly string[];
  readonly enabledFunctions: RegExp;
  readonly busySize: number;
}

/** What is so of one kernel. */
const FACTS: Readonly<Record<Series, Facts>> = {
  '6.1': {
    symbols: 94_266,
    sites: 38_252,
    listed: 'bb978083a5a3f17940fa5e636248b67481018b6ec214d272fe3b86b6a45d8964',
    named: '4e4313ecd6ed52bafbab05e0a321e377e822256e47294b7e19da2ed496e2ee1b',
    padding: 0,
    traced: { ambiguous: 209, compiled: 857 },
    first: ['__traceiter_initcall_level', '__traceiter_initcall_start'],
    firstSymbol: /^0000000000000000 A fixed_percpu_data$/,
    before: '',
    files: ['enabled', 'force', 'transition'],
    enabledFunctions:
      /^cmdline_proc_show \(1\) {3}I {2}\ttramp: 0x\w+ \(klp_ftrace_handler\+0x0\/0x\w+\) ->klp_ftrace_handler\+0x0\/0x\w+$/,
    busySize: 16384,
  },
  '6.12': {
    symbols: 166_932,
    sites: 42_853,
    listed: '238738d25c29d7dcc30bf289ae7348e7c7b233549120425c4368c9af7181d12b',
    named: '215d408f20d1d11397fd1d5d86cd7b13fb3f7c61ffcf1e7d0927349590b2bd9e',
    padding: 51_844,
    traced: { ambiguous: 234, compiled: 1062 },
    first: ['__traceiter_initcall_level', '__probestub_initcall_level'],
    firstSymbol: /^0000000000000000 A fixed_percpu_data$/,
    before: 'f3 0f 1e fa ',
    files: ['enabled', 'force', 'replace', 'transition'],
    enabledFunctions:
      /^cmdline_proc_show \(1\) {3}I {5}M \ttramp: 0x\w+ \(klp_ftrace_handler\+0x0\/0x\w+\) ->klp_ftrace_handler\+0x0\/0x\w+$/,
    busySize: 12288,
  },
  '7.3': {
    symbols: 209_812,
    sites: 47_382,
    listed: '5ac5152e90911934e5ddc21f91b6b6af62665246faf13ea96fa0c96a457579c8',
    named: 'e7ebbf034bdfd12134f38eafc6cd53feff53bc200b585b07a0be25d6b143d6d0',
    padding: 58_614,
    traced: { ambiguous: 252, compiled: 1175 },
    first: ['trace_initcall_level_cb', 'trace_initcall_start_cb', 'run_init_process'],
    firstSymbol: /^[0-9a-f]{16} T srso_alias_untrain_ret$/,
    before: 'f3 0f 1e fa ',
    files: ['enabled', 'force', 'replace', 'stack_order', 'transition'],
    enabledFunctions:
      /^cmdline_proc_show \(1\) {3}I {5}M \ttramp: 0x\w+ \(klp_ftrace_handler\+0x0\/0x\w+\) ->klp_ftrace_handler\+0x0\/0x\w+$/,
    busySize: 12288,
  },
};

const sha256 = (text: string): string => createHash('sha256').update(text).digest('hex');

const found = Object.fromEntries(SERIES.map((series) => [series, selftestsOf(series)]));

describe.each(SERIES)('Debian %s as it was seen', (series) => {
  const facts = FACTS[series];
  const tests = found[series];
  const isLater = series !== '6.1';
  const deprecated = series === '7.3';
  let machine: Machine;
  let shell: Shell;
  let seen = 0;

  beforeEach((context) => {
    if ('why' in tests) context.skip(tests.why);
  });
  beforeAll(async () => {
    if ('why' in tests) return;
    machine = await Machine.boot({ kernel: tests.image });
    shell = new Shell(machine, { modules: () => modulesIn(tests.modules) });
    shell.context.modules.depmod();
  });
  afterAll(() => machine?.close());

  function* modulesIn(folder: string): Generator<{ name: string; bytes: Uint8Array }> {
    for (const name of readdirSync(folder).sort())
      if (name.endsWith('.ko')) yield { name, bytes: new Uint8Array(readFileSync(join(folder, name))) };
  }
  const sh = (line: string) => shell.execute(line);
  const out = async (line: string): Promise<string> => {
    const { status, stdout, stderr } = await sh(line);
    expect([line, status, stderr]).toEqual([line, 0, '']);
    return stdout.trimEnd();
  };
  /** What livepatch and others said since the last time, without times. */
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
  const exitOf = (bytes: Uint8Array, params = ''): number | undefined => {
    machine.addFile('/x.ko', bytes);
    const task = machine.insmod('/x.ko', params);
    machine.runUntil(() => machine.exitStatus(task) !== undefined, 60 * SECOND);
    return machine.exitStatus(task);
  };
  const bytesAt = (name: string, length: number): string => {
    const { symbols, mem } = machine.inspect.core;
    return Buffer.from(mem.readBytes(symbols.require(name), length))
      .toString('hex')
      .replace(/..(?=.)/g, '$& ');
  };
  const selftest = (name: string): Uint8Array =>
    new Uint8Array(readFileSync(join('why' in tests ? '' : tests.modules, `${name}.ko`)));
  const off = async (name: string): Promise<void> => {
    await out(`echo 0 > ${LIVEPATCH}/${name}/enabled`);
    settle();
    await out(`rmmod ${name}`);
  };

  it('has its symbols, in its order, and names that the compiler made', () => {
    const { native } = openKernel('why' in tests ? '' : tests.image, X86_64);
    const { names } = native.symbols;
    expect(names.length).toBe(facts.symbols);
    expect([...names].filter((name) => name.startsWith('__pfx_')).length).toBe(facts.padding);
  });

  it('shows them as it does', async () => {
    expect(await out('head -n 1 /proc/kallsyms')).toMatch(facts.firstSymbol);
    const listed = (await out(`head -n 3 ${TRACING}/available_filter_functions`)).split('\n');
    expect(listed.slice(0, facts.first.length)).toEqual(facts.first);
    const addresses = await sh(`head -n 1 ${TRACING}/available_filter_functions_addrs`);
    expect(addresses.status).toBe(isLater ? 0 : 1);
    if (isLater) expect(addresses.stdout).toMatch(new RegExp(`^ffffffff8\\w+4 ${facts.first[0]}\n$`));
    expect(await out(`cat ${TRACING}/enabled_functions`)).toBe('');
  });

  it('lists its functions and its symbols line for line', async () => {
    const listed = await sh(`cat ${TRACING}/available_filter_functions`);
    expect(listed.stdout.split('\n').length - 1).toBe(facts.sites);
    expect(sha256(listed.stdout)).toBe(facts.listed);
    const symbols = (await sh('cat /proc/kallsyms')).stdout;
    expect(sha256(symbols.replace(/^\S+ /gm, ''))).toBe(facts.named);
  });

  it('can trace each of them but for few', async () => {
    const { core, ftrace } = machine.inspect;
    const here = new Set([...ftrace.records.all()].map((rec) => ftrace.records.nameOf(core, rec)));
    const without = [...ftrace.records.listed(core)].flatMap(({ name }) => (here.has(name) ? [] : [name]));
    expect(without.filter((name) => !name.startsWith('__ftrace_invalid_address___')).sort()).toEqual([
      'do_int3',
      'handle_stack_overflow',
      'kprobe_ftrace_handler',
      ...(isLater ? ['ret_from_fork'] : []),
    ]);
  });

  it('shows the load and the levels of the console by its own code and data', async () => {
    expect(await out('cat /proc/loadavg')).toMatch(/^\d+\.\d\d \d+\.\d\d \d+\.\d\d 1\/\d+ \d+$/);
    const printk = '/proc/sys/kernel/printk';
    expect(await out(`cat ${printk}`)).toBe('4\t4\t1\t7');
    expect((await sh(`echo 3 2 x > ${printk}`)).stderr).toContain('Invalid argument');
    expect(await out(`cat ${printk}`)).toBe('3\t2\t1\t7');
    await out(`echo 4 4 > ${printk}`);
  });

  it('has a livepatch in sysfs, in /proc/kallsyms and at the function as it has it', async () => {
    expect(bytesAt('cmdline_proc_show', facts.before === '' ? 6 : 10)).toBe(`${facts.before}${SITE_NOP} 53`);
    said();
    await out(`modprobe ${PATCH}`);
    settle();
    const own = facts.before.length / 3;
    expect(bytesAt('cmdline_proc_show', own + 1)).toBe(`${facts.before}e8`);
    expect(bytesAt('cmdline_proc_show', own + 6).endsWith(' 53')).toBe(true);
    expect(said().filter((line) => line.startsWith('livepatch: '))).toEqual([
      `livepatch: enabling patch '${PATCH}'`,
      `livepatch: '${PATCH}': starting patching transition`,
      `livepatch: '${PATCH}': patching complete`,
    ]);
    const dir = `${LIVEPATCH}/${PATCH}`;
    expect((await out(`ls ${dir}`)).split('\n')).toEqual([...facts.files, 'vmlinux']);
    const modes: Record<string, string> = { enabled: '644', force: '200' };
    for (const file of facts.files)
      expect(await out(`stat -c '%a %F %s %h' ${dir}/${file}`)).toBe(
        `${modes[file] ?? '444'} regular file 4096 1`,
      );
    expect(
      await out(
        `stat -c '%a %F %s %h' ${LIVEPATCH} ${dir} ${dir}/vmlinux ${dir}/vmlinux/cmdline_proc_show,1`,
      ),
    ).toBe([3, 3, 3, 2].map((links) => `755 directory 0 ${links}`).join('\n'));
    expect(await out(`stat -c '%a' ${dir}/vmlinux/patched`)).toBe('444');
    expect(await out(`cat ${TRACING}/enabled_functions`)).toMatch(facts.enabledFunctions);
    const symbols = (await out(`grep ${PATCH} /proc/kallsyms`)).split('\n');
    expect(symbols).toContainEqual(
      expect.stringMatching(/^[0-9a-f]{16} u klp_enable_patch\t\[test_klp_livepatch\]$/),
    );
    expect(symbols).toContainEqual(expect.stringMatching(/^[0-9a-f]{16} \? __UNIQUE_ID_\w+\t/));
    expect(await out('grep __builtin__ftrace /proc/kallsyms')).toMatch(
      /^ffffffffc0\w+ t ftrace_trampoline\t\[__builtin__ftrace\]$/,
    );
    expect(await out('cat /proc/modules')).toMatch(/^test_klp_livepatch \d+ 1 - Live 0x\w+ \(OEK\)$/);
    expect(await out('cat /proc/sys/kernel/tainted')).toBe('45056');
  });

  it.each([
    ['force', '1', 22],
    ['force', '0x', 0],
    ['force', '0', 0],
    ['force', 'x', 22],
    ['force', '2', 22],
    ['enabled', '1', 22],
    ['enabled', 'x', 22],
    ['enabled', '2', 22],
  ])('answers to %s of a settled patch, written %s, with %i', async (file, text, errno) => {
    const { status, stderr } = await sh(`echo ${text} > ${LIVEPATCH}/${PATCH}/${file}`);
    expect([status, stderr.includes('Invalid argument')]).toEqual([errno === 0 ? 0 : 1, errno === 22]);
  });

  it('has as many functions that can be traced of ambiguous names, and of names that the compiler made', async () => {
    const names = (await out(`cat ${TRACING}/available_filter_functions`))
      .split('\n')
      .filter((line) => !line.endsWith(']'));
    const count = new Map<string, number>();
    for (const line of (await out('cat /proc/kallsyms')).split('\n')) {
      const [, , name, module] = line.split(/\s/);
      if (module === undefined) count.set(name, (count.get(name) ?? 0) + 1);
    }
    const distinct = [...new Set(names)];
    const of = (isSo: (name: string) => boolean): number => distinct.filter(isSo).length;
    expect({
      ambiguous: of((name) => (count.get(name) ?? 0) > 1),
      compiled: of((name) => /\.(isra|constprop|part)\b/.test(name)),
      cold: of((name) => name.includes('.cold')),
    }).toEqual({ ...facts.traced, cold: 0 });
  });

  it('refuses what cannot be read, written, unloaded or loaded twice', async () => {
    expect((await sh(`cat ${LIVEPATCH}/${PATCH}/force`)).stderr).toContain('Permission denied');
    for (const file of [
      'transition',
      'vmlinux/patched',
      ...facts.files.filter((one) => /replace|order/.test(one)),
    ])
      expect((await sh(`echo 1 > ${LIVEPATCH}/${PATCH}/${file}`)).stderr).toContain('Permission denied');
    expect((await sh(`rmmod ${PATCH}`)).stderr).toBe(`rmmod: ERROR: Module ${PATCH} is in use\n`);
    expect(exitOf(selftest(PATCH))).toBe(17);
    expect(await sh(`modprobe ${PATCH}`)).toMatchObject({ status: 0, stderr: '' });
  });

  it('has its answers to ftrace_enabled, with a patch and without', async () => {
    const write = async (text: string): Promise<string> =>
      (await sh(`echo ${text} > /proc/sys/kernel/ftrace_enabled`)).stderr.replace(/^.*: /s, '').trim();
    const value = (): Promise<string> => out('cat /proc/sys/kernel/ftrace_enabled');
    said();
    expect([await write('0'), await value()]).toEqual([
      deprecated ? 'Operation not supported' : 'Device or resource busy',
      '1',
    ]);
    expect(said()).toEqual(
      deprecated ? ['The ftrace_enabled file is deprecated and no longer disables ftrace'] : [],
    );
    expect([await write('2'), await value()]).toEqual(['', '2']);
    await off(PATCH);
    expect([await write('0'), await value()]).toEqual(
      deprecated ? ['Operation not supported', '2'] : ['', '0'],
    );
    // Without ftrace no livepatch.
    if (!deprecated) expect(exitOf(selftest(PATCH))).toBe(16);
    expect([await write('5'), await value(), await write('x'), await write('1')]).toEqual([
      '',
      '5',
      'Invalid argument',
      '',
    ]);
    expect(bytesAt('cmdline_proc_show', facts.before === '' ? 6 : 10)).toBe(`${facts.before}${SITE_NOP} 53`);
    expect(await out(`cat ${TRACING}/enabled_functions`)).toBe('');
  });

  it('says nothing of patches that are replaced, which can be unloaded then', async () => {
    await out(`modprobe ${PATCH}`);
    settle();
    said();
    await out('modprobe test_klp_atomic_replace replace=1');
    settle();
    const name = 'test_klp_atomic_replace';
    expect(said().filter((line) => line.startsWith('livepatch: '))).toEqual([
      `livepatch: enabling patch '${name}'`,
      `livepatch: '${name}': starting patching transition`,
      `livepatch: '${name}': patching complete`,
    ]);
    expect(await out(`ls ${LIVEPATCH}`)).toBe(name);
    if (isLater) expect(await out(`cat ${LIVEPATCH}/${name}/replace`)).toBe('1');
    expect(
      (await out('cat /proc/modules')).split('\n').map((line) => line.replace(/ \d+ (\d) - .*/, ' $1')),
    ).toEqual([`${name} 1`, `${PATCH} 0`]);
    await out(`rmmod ${PATCH}`);
    await off(name);
  });

  it('counts stack_order anew when a lower patch goes', async () => {
    await out('modprobe test_klp_livepatch');
    settle();
    await out('modprobe test_klp_callbacks_demo');
    settle();
    const order = async (name: string): Promise<string | number> => {
      const { status, stdout } = await sh(`cat ${LIVEPATCH}/${name}/stack_order`);
      return status === 0 ? stdout.trim() : status;
    };
    const none = series !== '7.3';
    expect([await order(PATCH), await order('test_klp_callbacks_demo')]).toEqual(none ? [1, 1] : ['1', '2']);
    await off(PATCH);
    expect(await order('test_klp_callbacks_demo')).toBe(none ? 1 : '1');
    await off('test_klp_callbacks_demo');
  });

  it('stalls, refuses another patch, and is forced', async () => {
    await out('modprobe test_klp_callbacks_busy block_transition=Y');
    expect(await out('grep test_klp_callbacks_busy /proc/modules')).toMatch(
      new RegExp(`^test_klp_callbacks_busy ${facts.busySize} 0 - Live`),
    );
    said();
    const name = 'test_klp_callbacks_demo';
    await out(`modprobe ${name}`);
    expect(exitOf(selftest(PATCH))).toBe(16);
    expect(said().filter((line) => line.includes(PATCH))).toEqual([]);
    machine.runFor(20 * SECOND);
    expect(await out(`cat ${LIVEPATCH}/${name}/transition`)).toBe('1');
    machine.runFor(20 * SECOND);
    expect(said().filter((line) => line.includes('signaling'))).toEqual([
      'livepatch: signaling remaining tasks',
    ]);
    await out(`echo 0 > ${LIVEPATCH}/${name}/force`);
    expect(await out(`cat ${LIVEPATCH}/${name}/transition`)).toBe('1');
    await out(`echo 1 > ${LIVEPATCH}/${name}/force`);
    settle();
    expect(await out(`cat ${LIVEPATCH}/${name}/transition`)).toBe('0');
    expect(said().filter((line) => line.startsWith('livepatch: '))).toEqual([
      'livepatch: forcing remaining tasks to the patched state',
      `livepatch: '${name}': patching complete`,
    ]);
    expect((await sh(`rmmod ${name}`)).stderr).toBe(`rmmod: ERROR: Module ${name} is in use\n`);
    await off(name);
    await out('rmmod test_klp_callbacks_busy');
  });

  /** test_klp_livepatch with one thing changed, loaded. */
  const changed = (): Mutant => new Mutant(selftest(PATCH));
  const named = (name: string): Mutant => changed().text('cmdline_proc_show', name);
  const notFound = (name: string): string[] => [`livepatch: symbol '${name}' not found in symbol table`];
  const noPlace = (name: string): string[] => [
    `livepatch: enabling patch '${PATCH}'`,
    `livepatch: failed to find location for function '${name}'`,
    "livepatch: failed to patch object 'vmlinux'",
    `livepatch: failed to enable patch '${PATCH}'`,
    `livepatch: '${PATCH}': unpatching complete`,
  ];

  it.each<[string, () => Mutant, readonly string[]]>([
    ['a name that it has not', () => named('klpdemo_absent'), notFound('klpdemo_absent')],
    ['the name ""', () => named(''), notFound('')],
    [
      'a second one of a name that is one',
      () => changed().dataWord('funcs', 16, 2n),
      ["livepatch: symbol position 2 for symbol 'cmdline_proc_show' in object 'vmlinux' not found"],
    ],
    ['no name', () => changed().withoutPointer('funcs', 0), []],
    ['no new function', () => changed().withoutPointer('funcs', 8), []],
    [
      'no functions of an object that has a name',
      () =>
        new Mutant(selftest('test_klp_callbacks_demo')).withoutPointer(
          'objs',
          BUILT_IN.structs.klp_object.size + BUILT_IN.structs.klp_object.fields.funcs,
        ),
      [],
    ],
    ['no objects', () => changed().withoutPointer('patch', 8), []],
    ['an __init function', () => named('start_kernel'), noPlace('start_kernel')],
    ['a function that is not traced', () => named('ftrace_stub'), noPlace('ftrace_stub')],
    ['data', () => named('jiffies'), noPlace('jiffies')],
    [
      'one of several, without saying which',
      () => named('m_show'),
      ["livepatch: unresolvable ambiguity for symbol 'm_show' in object '(null)'"],
    ],
    [
      'no mark that it is a livepatch',
      () => changed().string('.modinfo', 'livepatch=Y', 'livepatcX=Y'),
      [`livepatch: module ${PATCH} is not marked as a livepatch module`],
    ],
  ])('refuses a patch of %s with EINVAL', (_, make, words) => {
    said();
    expect(exitOf(make().bytes)).toBe(22);
    expect(said().filter((line) => line.startsWith('livepatch: '))).toEqual(words);
  });

  const OBJECT = BUILT_IN.structs.klp_object;
  it.each<[string, string, (patch: Mutant) => Mutant]>([
    ['vmlinux', 'vmlinux', (patch) => patch.withoutPointer('objs', OBJECT.size + OBJECT.fields.name)],
    [
      'a module that is not there',
      'test_klp_callbacks_mod',
      (patch) => patch.text('test_klp_callbacks_busy', 'test_klp_callbacks_mod'),
    ],
  ])('refuses a patch that has %s twice', async (_, object, twice) => {
    said();
    expect(exitOf(twice(new Mutant(selftest('test_klp_callbacks_demo'))).bytes)).toBe(
      series === '7.3' ? 16 : 17,
    );
    const lines = said();
    expect(lines).toContain(
      `sysfs: cannot create duplicate filename '/kernel/livepatch/test_klp_callbacks_demo/${object}'`,
    );
    expect(lines).toContain(
      `${isLater ? 'kobject: ' : ''}kobject_add_internal failed for ${object} with -EEXIST, don't try to register things with the same name in the same directory.`,
    );
    expect(lines.filter((line) => line.startsWith('livepatch: '))).toEqual([]);
    expect(await out(`ls ${LIVEPATCH}`)).toBe('');
  });

  it('takes a first one of a name that is one', async () => {
    said();
    expect(exitOf(changed().dataWord('funcs', 16, 1n).bytes)).toBe(0);
    settle();
    expect(await out(`ls ${LIVEPATCH}/${PATCH}/vmlinux`)).toBe('cmdline_proc_show,1\npatched');
    await off(PATCH);
  });

  it('says of parameters what it says', async () => {
    said();
    expect(exitOf(selftest('test_klp_atomic_replace'), 'replace=maybe')).toBe(22);
    expect(said()).toContain("test_klp_atomic_replace: `maybe' invalid for parameter `replace'");
    expect(exitOf(selftest(PATCH), 'foo=1')).toBe(0);
    expect(said()).toContain(`${PATCH}: unknown parameter 'foo' ignored`);
    settle();
    await off(PATCH);
  });

  it.each(SERIES.filter((one) => one !== series))('refuses a module of %s', (other) => {
    const theirs = found[other];
    if ('why' in theirs) return;
    const bytes = new Uint8Array(readFileSync(join(theirs.modules, `${PATCH}.ko`)));
    said();
    expect(exitOf(bytes)).toBe(8);
    expect(said()).toEqual(FOREIGN[`${other} into ${series}`]);
  });
});

const magic = (is: string, should: string): string =>
  `${PATCH}: version magic '${is} ' should be '${should} '`;
const MAGIC = {
  '6.1': '6.1.0-56-amd64 SMP preempt mod_unload modversions',
  '6.12': '6.12.117+deb13-amd64 SMP preempt mod_unload modversions',
  '7.3': '7.3.4+deb13-amd64 SMP preempt mod_unload',
};
const SIZE = `module ${PATCH}: .gnu.linkonce.this_module section size must match the kernel's built struct module size at run time`;
const unversioned = (series: Series): string[] => [
  `${PATCH}: module_layout: kernel tainted.`,
  'Disabling lock debugging due to kernel taint',
  magic(MAGIC['7.3'], MAGIC[series]),
];
const FOREIGN: Readonly<Record<string, readonly string[]>> = {
  '6.12 into 6.1': [`${PATCH}: disagrees about version of symbol module_layout`],
  '7.3 into 6.1': unversioned('6.1'),
  '7.3 into 6.12': unversioned('6.12'),
  '6.1 into 6.12': [SIZE],
  '6.1 into 7.3': [SIZE],
  '6.12 into 7.3': [magic(MAGIC['6.12'], MAGIC['7.3'])],
};
