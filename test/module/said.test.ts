// What is said of a module while it loads, and left in its struct: each line of the kernel's, once it is true.

import { describe, expect, it } from 'vitest';
import { X86_64 } from '../../src/arch/x86_64/x86_64.ts';
import { SHT_REL } from '../../src/elf/constants.ts';
import { parseElf } from '../../src/elf/elf_object.ts';
import { UAPI } from '../../src/kernel/uapi.ts';
import { directDependencies, loadOrder, type ModuleFile } from '../../src/module/dependencies.ts';
import type { Module } from '../../src/module/module.ts';
import { moduleFlags, procModules } from '../../src/module/procfs.ts';
import { fixture, object, Rig, replaced } from './harness.ts';

const NAME = 'klpdemo_target';
const OUT_OF_TREE = `${NAME}: loading out-of-tree module taints kernel.`;
const UNSIGNED = `${NAME}: module verification failed: signature and/or required key missing - tainting kernel`;
const UNRELIABLE = 'Disabling lock debugging due to kernel taint';

/** klpdemo_target with another tag of .modinfo in the place of one that it has. */
const tagged = (from: string, to: string) => replaced(fixture(NAME), from, to);

function load(bytes: Uint8Array, args = '') {
  const rig = new Rig();
  const result = rig.load(bytes, args, 'x.ko');
  return { rig, result, dmesg: rig.dmesg };
}

describe('what .modinfo says of a module', () => {
  const spectre = [
    'Spectre V2 : System may be vulnerable to spectre v2',
    `${NAME}: loading module not compiled with retpoline compiler.`,
  ];

  it.each([
    ['that it is of the tree', 'description=klpemu', 'intree=Y', [UNSIGNED], '(E)'],
    ['no retpolines', 'retpoline=Y', 'retpolinx=Y', [OUT_OF_TREE, ...spectre, UNSIGNED], '(OE)'],
    ['retpolines, by whatever value', 'retpoline=Y', 'retpoline=N', [OUT_OF_TREE, UNSIGNED], '(OE)'],
    [
      'that it is a test',
      'description=klpemu',
      'test=Y',
      [OUT_OF_TREE, `${NAME}: loading test module taints kernel.`, UNSIGNED],
      '(OEN)',
    ],
    [
      'no kernel that it was built for',
      'vermagic=',
      'vermagix=',
      [`${NAME}: bad vermagic: kernel tainted.`, UNRELIABLE, OUT_OF_TREE, UNSIGNED],
      '(FOE)',
    ],
    [
      'no license',
      'license=GPL',
      'licensx=GPL',
      [OUT_OF_TREE, `${NAME}: module license 'unspecified' taints kernel.`, UNRELIABLE, UNSIGNED],
      '(POE)',
    ],
  ])('%s', (_, from, to, lines, flags) => {
    const { result, dmesg } = load(tagged(from, to));
    expect(dmesg).toEqual(lines);
    expect(result.ok && moduleFlags(result.module)).toBe(flags);
  });

  it.each([
    ['GPL', true],
    ['GPL v2', true],
    ['GPL and additional rights', true],
    ['Dual BSD/GPL', true],
    ['Dual MIT/GPL', true],
    ['Dual MPL/GPL', true],
    ['GPL v3', false],
    ['BSD', false],
    ['', false],
  ])('a license of %j: whether it is compatible with the GPL, %j', (license, compatible) => {
    // The description has the room for one.
    const bytes = replaced(
      tagged('license=GPL', 'licensx=GPL'),
      'description=klpemu fixture: a target',
      `license=${license}`,
    );
    const { result, dmesg } = load(bytes);
    expect(result.ok && result.module.hasTaint('TAINT_PROPRIETARY_MODULE')).toBe(!compatible);
    expect(dmesg.some((line) => line.includes(`module license '${license}'`))).toBe(!compatible);
  });
});

describe('what is wrong with an object', () => {
  const elf = parseElf(fixture(NAME), 'x.ko', X86_64.elf);
  /** @param write writes into a copy */
  function altered(write: (view: DataView) => void): Uint8Array {
    const bytes = fixture(NAME).slice();
    write(new DataView(bytes.buffer));
    return bytes;
  }

  it('a symbol in a section that there is not', () => {
    const symbol = elf.symbols.find(({ name }) => name === 'depth');
    const none = elf.header.shnum + 5;
    const { result, dmesg } = load(
      altered((view) =>
        view.setUint16((elf.symtab?.offset ?? 0) + (symbol?.index ?? 0) * 24 + 6, none, true),
      ),
    );
    expect(result).toMatchObject({ ok: false, code: 'ENOEXEC' });
    expect(dmesg.at(-1)).toBe(
      `${NAME}: Symbol depth has an invalid section index ${none} (max ${elf.header.shnum - 1})`,
    );
  });

  it('a symbol whose section is in a table for more sections than a module may have', () => {
    const symbol = elf.symbols.find(({ name }) => name !== '');
    const comment = elf.header.shoff + 64 * (elf.section('.comment')?.index ?? 0);
    const [SHT_SYMTAB_SHNDX, SHN_XINDEX] = [18, 0xffff];
    const text = elf.section('.text')?.index ?? 0;
    const { result, dmesg } = load(
      altered((view) => {
        view.setUint16((elf.symtab?.offset ?? 0) + (symbol?.index ?? 0) * 24 + 6, SHN_XINDEX, true);
        view.setUint32(comment + 4, SHT_SYMTAB_SHNDX, true);
        view.setUint32(comment + 40, elf.symtab?.index ?? 0, true);
        view.setUint32((elf.section('.comment')?.offset ?? 0) + 4 * (symbol?.index ?? 0), text, true);
      }),
    );
    expect(result).toMatchObject({ ok: false, code: 'ENOEXEC' });
    expect(dmesg.at(-1)).toBe(
      `${NAME}: Symbol ${symbol?.name} has an invalid section index 65535 (max ${elf.header.shnum - 1})`,
    );
  });

  it('relocations without addends', () => {
    const header = elf.header.shoff + 64 * (elf.section('.rela.text')?.index ?? 0);
    const { result, dmesg } = load(altered((view) => view.setUint32(header + 4, SHT_REL, true)));
    expect(result).toMatchObject({ ok: false, code: 'ENOEXEC' });
    expect(dmesg.at(-1)).toBe(`module ${NAME}: REL relocation unsupported`);
  });

  it('a pointer out of it: the kernel would fall over it', () => {
    const exporter = parseElf(object('module-exporter'), 'x.ko', X86_64.elf);
    const bytes = object('module-exporter');
    const names = exporter.section('.rela__ksymtab')?.offset ?? 0;
    const addend = names + 24 + 16;
    const view = new DataView(bytes.buffer);
    view.setBigInt64(addend, view.getBigInt64(addend, true) + 0x1000_0000n, true);
    const { rig, result } = load(bytes);
    expect(result).toMatchObject({
      ok: false,
      code: 'ENOEXEC',
      errno: 8,
      reason: expect.stringMatching(/^bad pointer: .*0xffffffffd02/),
    });
    expect(rig.snapshot()).toMatchObject({ modules: [], area: 0, heap: 0 });
  });

  it('parameters for which there is no memory', () => {
    const { rig, result } = load(fixture(NAME), `depth=${'0'.repeat(2 << 20)}1`);
    expect(result).toMatchObject({ ok: false, code: 'ENOMEM', errno: 12 });
    expect(rig.snapshot()).toMatchObject({ modules: [], area: 0, heap: 0 });
  });

  it('nothing, where the mistake is our own', () => {
    const fail = () => {
      throw new Error('a mistake');
    };
    expect(() => new Rig({ hooks: { ftraceModuleInit: fail } }).load(fixture(NAME))).toThrow('a mistake');
  });

  it.each([
    ['for the part that stays', 0],
    ['for its init part, for which the other is given back', 1],
  ])('no room %s', (_, parts) => {
    const own: Rig = new Rig();
    const given: bigint[] = [];
    const area = {
      alloc: (size: number) => {
        const base = given.length < parts ? own.area.alloc(size) : undefined;
        if (base !== undefined) given.push(base);
        return base;
      },
      free: (base: bigint) => own.area.free(base),
    };
    const rig = new Rig({ area: area as typeof own.area });
    expect(rig.load(fixture(NAME))).toMatchObject({
      ok: false,
      code: 'ENOMEM',
      reason: expect.stringMatching(/^no module memory for \d+ bytes$/),
    });
    expect([given.length, own.area.used()]).toEqual([parts, 0]);
  });
});

describe('the parameters of a module', () => {
  it.each([
    ['', 0],
    ['async_probe', 1],
    ['async_probe=y', 1],
    ['async_probe=0', 0],
    ['async_probe=perhaps', 1],
  ])('%j: async_probe_requested is %i, and nothing is said', (args, wanted) => {
    const { rig, result, dmesg } = load(fixture(NAME), args);
    if (!result.ok) throw new Error(result.reason);
    const { async_probe_requested } = rig.core.kernel.structs.module.fields;
    expect(rig.core.mem.readU8(result.module.addr + BigInt(async_probe_requested))).toBe(wanted);
    expect(dmesg).toEqual([OUT_OF_TREE, UNSIGNED]);
  });

  it('of which one is dangerous taint by it, when it is set', () => {
    const elf = parseElf(fixture(NAME), 'x.ko', X86_64.elf);
    const { size, fields } = new Rig().core.kernel.structs.kernel_param;
    const bytes = fixture(NAME).slice();
    const table = elf.section('__param');
    for (let at = 0; at < (table?.size ?? 0); at += size)
      bytes[(table?.offset ?? 0) + at + fields.flags] |= 1;
    const tainted = (rig: Rig) => (rig.core.taints >> rig.core.kernel.constants.TAINT_USER) & 1;
    const line = 'Setting dangerous option depth - tainting kernel';
    const set = load(bytes, 'depth=3');
    expect([set.dmesg.at(-1), tainted(set.rig)]).toEqual([line, 1]);
    const unset = load(bytes);
    expect([unset.dmesg.includes(line), tainted(unset.rig)]).toEqual([false, 0]);
  });

  it.each([
    ['depth', 0, 22, []],
    ['depth=3', 0, 0, ['3']],
    ['depth=', 0, 0, ['']],
    ['depth', 1, 0, [undefined]],
    ['depth=3', 1, 0, ['3']],
    ['depth', 2, 22, []],
  ])(
    '%j to ops with flags %i: -%i, its function having been called with %j',
    (args, flags, errno, values) => {
      const rig = new Rig();
      rig.exportAll(['set_of_its_own']);
      const { mem, symbols, host } = rig.core;
      const seen: unknown[] = [];
      host.define('set_of_its_own', ({ args: [text] }) => {
        seen.push(text === 0n ? undefined : mem.readCString(text));
        return 0n;
      });
      const ops = symbols.lookupName('param_ops_int') ?? 0n;
      mem.writeU32(ops, flags);
      mem.writeU64(ops + 8n, symbols.lookupName('set_of_its_own') ?? 0n);
      expect(rig.load(fixture(NAME), args)).toMatchObject(errno === 0 ? { ok: true } : { ok: false, errno });
      expect(seen).toEqual(values);
    },
  );

  it.each([
    [2, `${NAME}: Unknown parameter \`depth'`],
    [28, `${NAME}: \`3' too large for parameter \`depth'`],
    [16, `${NAME}: \`3' invalid for parameter \`depth'`],
  ])('whose ops return -%i: the load fails with it, and says why', (errno, line) => {
    const rig = new Rig();
    rig.exportAll(['set_of_its_own']);
    const at = (name: string) => rig.core.symbols.lookupName(name) ?? 0n;
    rig.core.mem.writeU64(at('param_ops_int') + 8n, at('set_of_its_own'));
    rig.returns.set('set_of_its_own', -BigInt(errno));
    expect(rig.load(fixture(NAME), 'depth=3')).toMatchObject({
      ok: false,
      errno,
      reason: `invalid parameter depth of ${NAME}`,
    });
    expect(rig.dmesg.at(-1)).toBe(line);
  });
});

describe('who refuses a module', () => {
  const hooks = {
    klpModuleComing: ['livepatch refuses module', () => -16],
    notify: ['a notifier refuses module', () => -16],
    modSysfsSetup: ['no directory in /sys/module for', () => -16],
  } as const;

  it.each(Object.entries(hooks))(
    '%s is named, and its error is that of the load',
    (hook, [words, refuse]) => {
      const rig = new Rig({ hooks: { [hook]: refuse } });
      expect(rig.load(fixture(NAME))).toMatchObject({ ok: false, errno: 16, reason: `${words} ${NAME}` });
      expect(rig.snapshot()).toMatchObject({ modules: [], area: 0 });
    },
  );
});

describe('a module of a name that is there', () => {
  /** A second one, while the first is in a state. @param answer what the wait for the end of its load returns */
  function second(state: Module['state'], answer = 0) {
    const waits: boolean[] = [];
    const rig: Rig = new Rig({
      *waitEvent(condition) {
        waits.push(condition());
        if (answer === 0) first.state = 'LIVE';
        waits.push(condition());
        yield { relax: true };
        return answer;
      },
    });
    const loaded = rig.load(fixture(NAME));
    if (!loaded.ok) throw new Error(loaded.reason);
    const first = loaded.module;
    first.state = state;
    const used = rig.area.used();
    const result = rig.load(fixture(NAME));
    expect([rig.area.used(), rig.loader.modules.find(NAME, true)]).toEqual([used, first]);
    return { waits, result };
  }

  it.each([
    ['LIVE', 'EEXIST'],
    ['GOING', 'EBUSY'],
  ] as const)('and %s is refused with %s at once', (state, code) => {
    expect(second(state)).toMatchObject({
      waits: [],
      result: { ok: false, code, reason: `module ${NAME} is loaded already` },
    });
  });

  it.each(['COMING', 'UNFORMED'] as const)('and %s is waited for, and then there', (state) => {
    expect(second(state)).toMatchObject({ waits: [false, true], result: { ok: false, code: 'EEXIST' } });
  });

  it('is waited for until a signal comes', () => {
    expect(second('COMING', -UAPI.ERESTARTSYS)).toMatchObject({
      waits: [false, false],
      result: { ok: false, errno: UAPI.ERESTARTSYS, reason: `${NAME} is loading, and a signal came` },
    });
  });
});

describe('/proc/modules', () => {
  it('tells who uses a module, who goes, and who never does', () => {
    const rig = new Rig();
    for (const name of ['module-exporter', 'module-importer'])
      expect(rig.run(rig.loader.loadModule({ file: 'x.ko', bytes: object(name) })).ok).toBe(true);
    const [importer, exporter] = rig.loader.modules.all;
    const users = () =>
      procModules(rig.loader.modules)
        .split('\n')
        .slice(0, 2)
        .map((line) => line.split(' ').slice(3, 5));
    expect(users()).toEqual([
      ['-', 'Live'],
      ['importer,', 'Live'],
    ]);
    importer.state = 'GOING';
    const { init, exit } = rig.core.kernel.structs.module.fields;
    rig.core.mem.writeU64(exporter.addr + BigInt(init), exporter.base('core'));
    rig.core.mem.writeU64(exporter.addr + BigInt(exit), 0n);
    expect(users()).toEqual([
      ['-', 'Unloading'],
      ['importer,[permanent],', 'Live'],
    ]);
  });

  it('is not told of a reference that there was not: that is a warning', () => {
    const { rig, result } = load(fixture(NAME));
    if (!result.ok) throw new Error(result.reason);
    result.module.refcnt = 0;
    rig.loader.modules.put(result.module);
    expect([result.module.refcnt, rig.dmesg.at(-1)]).toEqual([
      0,
      `WARNING: module_put of ${NAME}, which has no references`,
    ]);
  });
});

describe('what depmod says of modules that need each other', () => {
  const file = (name: string, imports: string[]): ModuleFile => ({
    name,
    path: `/${name}.ko`,
    imports,
    exports: [`of_${name}`],
  });

  it('is which two, where there is a cycle; otherwise nothing, and who needs another comes before it', () => {
    const [a, b, c] = [file('a', ['of_b', 'of_c']), file('b', ['of_c']), file('c', [])];
    const order = (files: ModuleFile[]) => {
      const owners = new Map(files.map((one) => [one.exports[0], one]));
      const warnings: string[] = [];
      const names = loadOrder(files[0], (one) => directDependencies(one, owners), warnings).map(
        ({ name }) => name,
      );
      return { names, warnings };
    };
    expect(order([a, b, c])).toEqual({ names: ['b', 'c'], warnings: [] });
    expect(order([a, b, file('c', ['of_b', 'of_c'])])).toEqual({
      names: ['b', 'c'],
      warnings: ['depmod: ERROR: Cycle detected: c -> b -> c'],
    });
  });
});
