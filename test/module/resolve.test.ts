import { describe, expect, it } from 'vitest';
import { X86_64 } from '../../src/arch/x86_64/x86_64.ts';
import { SHF_RELA_LIVEPATCH, SHN_LIVEPATCH } from '../../src/elf/constants.ts';
import { parseElf } from '../../src/elf/elf_object.ts';
import { undefinedSymbols } from '../../src/elf/module_object.ts';
import type { KernelEvent } from '../../src/kernel/events.ts';
import { LivepatchModules } from '../../src/module/livepatch.ts';
import { procModules } from '../../src/module/procfs.ts';
import { fixture, object, Rig, replaced } from './harness.ts';

/** A machine with the exporter loaded; its symbols are the only ones that are exported. */
function withExporter(): Rig {
  const rig = new Rig();
  const loader = rig.loader.loadModule({ file: 'exporter.ko', bytes: object('module-exporter') });
  expect(rig.run(loader)).toMatchObject({ ok: true });
  return rig;
}

function load(rig: Rig, name: string) {
  return rig.run(rig.loader.loadModule({ file: `${name}.ko`, bytes: object(name) }));
}

describe('symbols of other modules', () => {
  it('are found, and hold their module until the user is gone', () => {
    const rig = withExporter();
    const result = load(rig, 'module-importer');
    if (!result.ok) throw new Error(result.reason);
    expect(procModules(rig.loader.modules)).toContain('exporter 16384 1 importer, Live');
    expect(rig.unload('exporter')).toBe(-11);
    expect(rig.unload('importer')).toBe(0);
    expect(rig.unload('exporter')).toBe(0);
  });

  it('are called by relocated calls; a weak symbol that nobody has is zero', () => {
    const rig = withExporter();
    load(rig, 'module-importer');
    const { mem, symbols } = rig.core;
    const at = symbols.lookupName('use_all') ?? 0n;
    expect(at + 5n + BigInt(mem.readS32(at + 1n))).toBe(symbols.lookupName('shared_plain'));
    expect(mem.readS32(at + 18n)).toBe(0);
  });

  it('that are GPL-only make their user one that takes nothing of a proprietary module', () => {
    const rig = new Rig();
    const exporter = load(rig, 'module-exporter');
    if (!exporter.ok) throw new Error(exporter.reason);
    const importer = load(rig, 'module-importer');
    if (!importer.ok) throw new Error(importer.reason);
    expect(importer.module.usingGplOnlySymbols).toBe(true);
    expect(exporter.module.usingGplOnlySymbols).toBe(false);
    expect(rig.unload('importer')).toBe(0);
    exporter.module.taints |= 1 << rig.core.kernel.constants.TAINT_PROPRIETARY_MODULE;
    const bytes = replaced(object('module-importer'), 'shared_plain', 'shared_gpl');
    const result = rig.run(rig.loader.loadModule({ file: 'importer.ko', bytes }));
    expect(result).toMatchObject({ ok: false });
    expect(rig.dmesg).toContain(
      'importer: module using GPL-only symbols uses symbols shared_gpl from proprietary module exporter.',
    );
  });

  it('that are GPL-only do not exist for other modules', () => {
    const rig = withExporter();
    expect(load(rig, 'module-proprietary')).toMatchObject({ ok: false, errno: 2 });
    // Lock debugging is off since the first module, which has no checksums and was loaded by force.
    expect(rig.dmesg.slice(-2)).toEqual([
      "proprietary: module license 'Proprietary' taints kernel.",
      'proprietary: Unknown symbol shared_gpl (err -2)',
    ]);
    expect(rig.dmesg.filter((line) => line === 'Disabling lock debugging due to kernel taint')).toHaveLength(
      1,
    );
    expect(rig.loader.modules.find('exporter')?.refcount).toBe(0);
  });

  it('of another version are refused', () => {
    const rig = withExporter();
    expect(load(rig, 'module-other-version')).toMatchObject({ ok: false, errno: 22 });
    expect(rig.dmesg.slice(-2)).toEqual([
      'other_version: disagrees about version of symbol shared_plain',
      'other_version: Unknown symbol shared_plain (err -22)',
    ]);
  });

  it('of a namespace have to be imported', () => {
    const rig = withExporter();
    expect(load(rig, 'module-no-namespace')).toMatchObject({ ok: false, errno: 22 });
    expect(rig.dmesg.slice(-2)).toEqual([
      'no_namespace: module uses symbol (shared_private) from namespace PRIVATE_NS, but does not import it.',
      'no_namespace: Unknown symbol shared_private (err -22)',
    ]);
  });

  it('cannot be exported twice', () => {
    const rig = withExporter();
    expect(load(rig, 'module-duplicate')).toMatchObject({ ok: false, errno: 8 });
    expect(rig.dmesg.at(-1)).toBe('duplicate: exports duplicate symbol shared_plain (owned by exporter)');
    expect(rig.core.symbols.findExport('shared_plain')?.module).toBe('exporter');
  });

  it('cannot be exported twice either where they are for GPL modules only', () => {
    const rig = withExporter();
    const bytes = replaced(object('module-duplicate'), 'shared_plain', 'shared_gpl');
    const result = rig.run(rig.loader.loadModule({ file: 'duplicate.ko', bytes }));
    expect(result).toMatchObject({ ok: false, errno: 8 });
    expect(rig.dmesg.at(-1)).toBe('duplicate: exports duplicate symbol shared_gpl (owned by exporter)');
  });

  it('that nobody exports are told all at once, each with a line', () => {
    const rig = new Rig();
    const bytes = replaced(fixture('klpdemo_bad_import'), '__fentry__', '__fantry__');
    const result = rig.run(rig.loader.loadModule({ file: 'x.ko', bytes }));
    const names = ['__fantry__', 'klpdemo_no_such_symbol'];
    expect(result).toMatchObject({
      ok: false,
      reason: `klpdemo_bad_import: Unknown symbols ${names.join(', ')} (err -2)`,
    });
    expect(rig.dmesg.slice(-2)).toEqual(
      names.map((name) => `klpdemo_bad_import: Unknown symbol ${name} (err -2)`),
    );
  });

  it('may be missing where an assembler put it in that nobody asked for: _GLOBAL_OFFSET_TABLE_ alone', () => {
    const bytes = (name: string) => replaced(fixture('klpdemo_bad_import'), 'klpdemo_no_such_symbol', name);
    const load = (name: string) => {
      const rig = new Rig();
      return rig.run(rig.loader.loadModule({ file: 'x.ko', bytes: bytes(name) }));
    };
    expect(load('_GLOBAL_OFFSET_TABLE_')).toMatchObject({ ok: true });
    expect(load('_GLOBAL_OFFSET_TABLE')).toMatchObject({ ok: false, code: 'ENOENT' });
  });

  it('without checksums make who exports them one that was loaded by force', () => {
    const bytes = fixture('klpdemo_tallies');
    const forced = (bytes: Uint8Array) => {
      const rig = new Rig({ percpu: { alloc: () => 0n, free: () => {}, copy: () => {} } });
      const result = rig.load(bytes);
      if (!result.ok) throw new Error(result.reason);
      const said = rig.dmesg.filter((line) => line.includes('versions'));
      return [said, result.module.hasTaint('TAINT_FORCED_MODULE')];
    };
    expect(forced(bytes)).toEqual([[], false]);
    expect(forced(replaced(bytes, '__kcrctab_gpl', '__kcrctab_no'))).toEqual([
      ['klpdemo_tallies: no versions for exported symbols: kernel tainted.'],
      true,
    ]);
  });

  it('are capital letters in kallsyms when they are exported for all', () => {
    const rig = withExporter();
    const letter = (name: string) => rig.core.symbols.matches(name, 'exporter')[0].type;
    expect([letter('shared_plain'), letter('shared_gpl')]).toEqual(['T', 't']);
  });
});

describe('relocations that livepatch resolves later', () => {
  const OBJECT = '.klp.rela.klpdemo_target..text';

  /** The module with its symbol and its relocations marked as livepatch's, under the name of a section of it. */
  function marked(sectionName: string, shndx = SHN_LIVEPATCH): Uint8Array {
    const bytes = object('module-livepatch');
    const view = new DataView(bytes.buffer);
    const elf = parseElf(bytes.slice(), 'livepatched.ko', X86_64.elf);
    const header = (name: string): number => elf.header.shoff + (elf.section(name)?.index ?? 0) * 64;
    view.setUint32(header('.rela.text') + 8, SHF_RELA_LIVEPATCH, true);
    view.setUint32(header('.rela.text'), view.getUint32(header(sectionName), true), true);
    const [symbol] = undefinedSymbols(elf);
    view.setUint16((elf.symtab?.offset ?? 0) + symbol.index * 24 + 6, shndx, true);
    return bytes;
  }

  function rigWith(bytes: Uint8Array) {
    const asked: unknown[] = [];
    const ports = {
      klpFindObjectSymbol: (...args: unknown[]) => {
        asked.push(args);
        return 0xffffffff81000100n;
      },
    };
    const rig = new Rig(ports);
    const result = rig.run(rig.loader.loadModule({ file: 'livepatched.ko', bytes }));
    if (!result.ok) throw new Error(result.reason);
    const mod = result.module;
    const pokes: number[] = [];
    const poke = (addr: bigint, code: Uint8Array): void => {
      pokes.push(code.length);
      rig.core.mem.pokeText(addr, code);
    };
    const port = new LivepatchModules(rig.core, rig.loader.modules, poke);
    const apply = (object: string) => port.applyObjectRelocs(mod.addr, object, ports.klpFindObjectSymbol);
    return { rig, apply, port, mod, asked, pokes, call: () => rig.core.mem.readS32(mod.base('core') + 1n) };
  }

  it('wait for their module, then are applied through text poking', () => {
    const { mod, apply, asked, call } = rigWith(marked(OBJECT));
    expect(call()).toBe(0);
    expect(apply('another_module')).toBe(0);
    expect(call()).toBe(0);
    expect(apply('klpdemo_target')).toBe(0);
    expect(asked).toEqual([['klpdemo_target', 'klpdemo_twin', 2n]]);
    expect(mod.base('core') + 5n + BigInt(call())).toBe(0xffffffff81000100n);
  });

  it('are told as they are applied and cleared, of those about the object alone', () => {
    const { rig, apply, port, mod, call } = rigWith(marked(OBJECT));
    const told: KernelEvent[] = [];
    rig.core.events.subscribe((event) => told.push(event), ['klp_relocs']);
    apply('klpdemo_target');
    port.clearObjectRelocs(mod.addr, 'another_module');
    expect(call()).not.toBe(0);
    port.clearObjectRelocs(mod.addr, 'klpdemo_target');
    expect(call()).toBe(0);
    const what = { patch: 'livepatched', object: 'klpdemo_target', count: 1 };
    expect(told).toMatchObject([
      { ...what, what: 'apply' },
      { ...what, what: 'clear' },
    ]);
    // And can be applied again.
    expect(apply('klpdemo_target')).toBe(0);
    expect(call()).not.toBe(0);
  });

  it('write what they are wide; of those of no width nothing', () => {
    const table = parseElf(object('module-livepatch'), 'x.ko', X86_64.elf).section('.rela.text')?.offset ?? 0;
    const written = (type: number) => {
      const bytes = marked(OBJECT);
      new DataView(bytes.buffer).setUint32(table + 8, type, true);
      const { apply, port, mod, pokes } = rigWith(bytes);
      expect(apply('klpdemo_target')).toBe(0);
      port.clearObjectRelocs(mod.addr, 'klpdemo_target');
      return pokes;
    };
    const [NONE, PC32] = [0, 2];
    expect([NONE, PC32].map(written)).toEqual([[], [4, 4]]);
  });

  it('that lie outside of their section refuse the object, and there is nothing to clear', () => {
    const table = parseElf(object('module-livepatch'), 'x.ko', X86_64.elf).section('.rela.text')?.offset ?? 0;
    const bytes = marked(OBJECT);
    new DataView(bytes.buffer).setUint32(table, 2, true);
    const { rig, apply, port, mod, pokes } = rigWith(bytes);
    const told: KernelEvent[] = [];
    rig.core.events.subscribe((event) => told.push(event), ['klp_relocs']);
    expect(apply('klpdemo_target')).toBe(-8);
    port.clearObjectRelocs(mod.addr, 'klpdemo_target');
    expect([pokes, told]).toEqual([[], []]);
  });

  it('are refused under a name that is not of their form', () => {
    const rig = new Rig();
    const result = rig.run(rig.loader.loadModule({ file: 'livepatched.ko', bytes: marked('.rela.text') }));
    expect(result).toMatchObject({ ok: false, code: 'EINVAL' });
    expect(rig.dmesg.at(-1)).toBe('livepatch: section .rela.text has an incorrectly formatted name');
    expect(rig.area.used()).toBe(0);
  });

  it("of an object may not ask for a symbol of the kernel's", () => {
    const { rig, apply, asked } = rigWith(
      replaced(marked(OBJECT), '.klp.sym.klpdemo_target.klpdemo_twin,2', '.klp.sym.vmlinux.klpdemo_twin,2'),
    );
    expect(apply('klpdemo_target')).toBe(-22);
    expect(asked).toEqual([]);
    expect(rig.dmesg.at(-1)).toBe(
      "livepatch: invalid access to vmlinux symbol 'klpdemo_twin' from module-specific livepatch relocation section",
    );
  });

  it('are refused for a symbol that is not marked', () => {
    const { rig, apply } = rigWith(marked(OBJECT, 0xfff1));
    expect(apply('klpdemo_target')).toBe(-22);
    const name = '.klp.sym.klpdemo_target.klpdemo_twin,2';
    expect(rig.dmesg.at(-1)).toBe(`livepatch: symbol ${name} is not marked as a livepatch symbol`);
  });
});

describe('what livepatch asks of modules', () => {
  it('is answered of the one at an address, and of none where there is none', () => {
    const rig = new Rig();
    const result = rig.load(fixture('klpdemo_target'));
    if (!result.ok) throw new Error(result.reason);
    const mod = result.module;
    const port = new LivepatchModules(rig.core, rig.loader.modules, () => {});
    const none = mod.addr + 8n;
    const { mem } = rig.core;
    expect([port.findModule('klpdemo_target'), port.findModule('klpdemo')]).toEqual([mod.addr, undefined]);
    const text = mod.elf.section('.text')?.size;
    expect(port.sectionOf(mod.addr, '.text')).toMatchObject({ addr: mod.base('core'), size: text });
    expect([port.sectionOf(mod.addr, '.nothing'), port.sectionOf(none, '.text')]).toEqual([
      undefined,
      undefined,
    ]);
    const twins = port.symbolsNamed(mod.addr, 'klpdemo_twin');
    expect(twins.map((at) => [rig.core.symbols.nameOf(at), mem.isMapped(at, 1)])).toEqual([
      ['klpdemo_twin', true],
      ['klpdemo_twin', true],
    ]);
    expect([port.symbolsNamed(mod.addr, 'klpdemo_none'), port.symbolsNamed(none, 'klpdemo_twin')]).toEqual([
      [],
      [],
    ]);
    const held = () => mod.refcount;
    expect([port.tryModuleGet(none), held()]).toEqual([false, 0]);
    expect([port.tryModuleGet(mod.addr), held()]).toEqual([true, 1]);
    port.modulePut(none);
    expect(held()).toBe(1);
    port.modulePut(mod.addr);
    expect(held()).toBe(0);
    expect([port.applyObjectRelocs(none, 'x', () => 0n), rig.dmesg.length]).toEqual([-22, 2]);
  });
});

describe('an object that is not fit to be a module', () => {
  it.each([
    ['module-write-exec', 'write_exec: section .both (index 6) has invalid WRITE|EXEC flags'],
    ['module-common', 'common: please compile with -fno-common'],
    ['relocations', '(missing .modinfo section or name field): No module found in object'],
    ['stripped', '(missing .modinfo section or name field): module has no symbols (stripped?)'],
    ['foreign-i386', 'not a 64-bit ELF file (class 1)'],
    ['truncated', 'Invalid ELF section header overflow'],
  ])('%s is refused with its reason', (name, line) => {
    const rig = new Rig();
    expect(load(rig, name)).toMatchObject({ ok: false, code: 'ENOEXEC' });
    expect(rig.dmesg.at(-1)).toBe(line);
    expect(rig.snapshot()).toMatchObject({ modules: [], area: 0, heap: 0 });
  });
});
