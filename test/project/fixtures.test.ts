import { readdirSync, readFileSync } from 'node:fs';
import { basename, join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { X86_64 } from '../../src/arch/x86_64/x86_64.ts';
import { type ElfObject, parseElf } from '../../src/elf/elf_object.ts';
import { readModInfo } from '../../src/elf/modinfo.ts';
import { pointerAt, readThisModule, undefinedSymbols } from '../../src/elf/module_object.ts';
import { BUILT_IN } from '../../src/kernel/description.ts';

const CONSTANTS = BUILT_IN.constants;
const LAYOUT = BUILT_IN.structs;

const dir = join(import.meta.dirname, '../../fixtures/modules');
const modules = readdirSync(dir)
  .filter((name) => name.endsWith('.ko'))
  .map((name) => parseElf(readFileSync(join(dir, name)), name, X86_64.elf));

function moduleNamed(name: string): ElfObject {
  const found = modules.find((m) => m.file === `${name}.ko`);
  if (!found) throw new Error(`no fixture ${name}`);
  return found;
}

/** What the struct klp_patch in a module's .data says, read through the layout and the relocations alone. */
function readPatch(elf: ElfObject) {
  const data = elf.section('.data');
  const patch = elf.symbol('patch');
  if (!data || !patch) throw new Error(`${elf.file} has no patch`);
  const target = (at: number) => {
    const pointer = pointerAt(elf, data, at);
    return pointer && { symbol: pointer.symbol, offset: Number(pointer.symbol.value + pointer.addend) };
  };
  const text = (at: number) => {
    const pointer = target(at);
    return pointer?.symbol.section && elf.stringAt(pointer.symbol.section, pointer.offset);
  };
  const rows = (at: number | undefined, size: number, isRow: (at: number) => boolean) => {
    const found: number[] = [];
    for (let row = at ?? 0; at !== undefined && isRow(row); row += size) found.push(row);
    return found;
  };
  const { klp_patch, klp_object, klp_func } = LAYOUT;
  const base = Number(patch.value);
  const objs = target(base + klp_patch.fields.objs)?.offset;
  const hasFuncs = (at: number) => target(at + klp_object.fields.funcs) !== undefined;
  const hasName = (at: number) => target(at + klp_func.fields.old_name) !== undefined;
  return {
    mod: target(base + klp_patch.fields.mod)?.symbol.name,
    objects: rows(objs, klp_object.size, hasFuncs).map((object) => ({
      name: text(object + klp_object.fields.name),
      funcs: rows(target(object + klp_object.fields.funcs)?.offset, klp_func.size, hasName).map((func) =>
        text(func + klp_func.fields.old_name),
      ),
      sympos: rows(target(object + klp_object.fields.funcs)?.offset, klp_func.size, hasName).map((func) =>
        Number(elf.view(data).getBigUint64(func + klp_func.fields.old_sympos, true)),
      ),
    })),
  };
}

const VERSIONED = [
  'klpdemo_round',
  'klpdemo_check',
  'klpdemo_work_fn',
  'klpdemo_show_version',
  'klpdemo_proc_show',
];

describe('fixture modules', () => {
  it('are of the kernel whose layout the guest uses', () => {
    const offsets = { ...LAYOUT.module.fields, nameLength: BUILT_IN.constants.MODULE_NAME_LEN };
    for (const elf of modules) {
      const thisModule = readThisModule(elf, offsets);
      expect(thisModule?.name).toBe(basename(elf.file, '.ko'));
      expect(thisModule?.section.size).toBe(LAYOUT.module.size);
      expect(thisModule?.init?.symbol.name).toBe('init_module');
      expect(readModInfo(elf).get('vermagic')).toBe(BUILT_IN.vermagic);
    }
  });

  it('import what their README lists, and nothing else', () => {
    const readme = readFileSync(join(dir, 'README.md'), 'utf8');
    const table = readme.slice(readme.indexOf('<!-- imports -->'));
    const listed = [...table.matchAll(/^\| `(\w+)`/gm)].map((m) => m[1]);
    const imported = new Set(modules.flatMap((elf) => undefinedSymbols(elf).map((s) => s.name)));
    expect(listed).toEqual([...imported].sort());
  });

  it('carry no debug information', () => {
    for (const elf of modules) expect(elf.sections.filter((s) => s.name.startsWith('.debug'))).toEqual([]);
  });

  it('hold in klp_patch, read by the extracted layout, what their sources say', () => {
    expect(readPatch(moduleNamed('klpdemo_patch_target'))).toMatchObject({
      mod: '__this_module',
      objects: [{ name: 'klpdemo_target', funcs: VERSIONED }],
    });
    expect(readPatch(moduleNamed('klpdemo_patch_vmlinux'))).toMatchObject({
      objects: [{ name: undefined, funcs: ['cmdline_proc_show'] }],
    });
    expect(readPatch(moduleNamed('klpdemo_patch_both'))).toMatchObject({
      objects: [
        { name: undefined, funcs: ['meminfo_proc_show'] },
        { name: 'klpdemo_target', funcs: VERSIONED },
      ],
    });
    expect(readPatch(moduleNamed('klpdemo_patch_sympos')).objects[0]).toMatchObject({
      funcs: ['klpdemo_twin'],
      sympos: [2],
    });
  });

  it('give the target an fentry site in every function but the notrace one', () => {
    const target = moduleNamed('klpdemo_target');
    const mcount = target.section('__mcount_loc');
    const text = target.section('.text');
    if (!mcount || !text) throw new Error('no __mcount_loc');
    const sites = target.relocations(mcount.index).map((r) => r.symbol.value + r.addend);
    const functions = target.symbols.filter((s) => s.name.startsWith('klpdemo_') && s.section === text);
    const without = functions.filter((f) => !sites.includes(f.value)).map((f) => f.name);
    expect(without).toEqual(['klpdemo_untraced']);
    expect(functions.filter((f) => f.name === 'klpdemo_twin')).toHaveLength(2);
  });
});

describe('the extracted layout', () => {
  it('agrees with what the kernel fixes by contract', () => {
    expect(LAYOUT.pt_regs).toMatchObject({
      size: 168,
      fields: { r15: 0, bx: 40, di: 112, ip: 128, sp: 152 },
    });
    expect(LAYOUT.orc_entry.size).toBe(6);
    expect(LAYOUT.orc_entry.bitfields.sp_reg).toEqual({ bit: 32, width: 4 });
    expect(CONSTANTS.TIF_PATCH_PENDING).toBe(13);
    expect(CONSTANTS.KLP_UNDEFINED).toBe(-1);
    expect(CONSTANTS.MODULES_VADDR).toBe(0xffffffffc0000000n);
    expect(CONSTANTS.THREAD_SIZE).toBe(16384);
  });
});
