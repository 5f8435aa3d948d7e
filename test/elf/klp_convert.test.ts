import { execFileSync, spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { X86_64 } from '../../src/arch/x86_64/x86_64.ts';
import { parseElf } from '../../src/elf/elf_object.ts';
import { klpConvert } from '../../src/elf/klp_convert.ts';
import { parseKlpSymbols } from '../../src/elf/klp_symbols.ts';

const MODULES = join(import.meta.dirname, '../../fixtures/modules');
const LIST = 'vmlinux.cmdline_proc_show\n';
const read = (name: string) => parseElf(readFileSync(join(MODULES, `${name}.ko`)), `${name}.ko`, X86_64.elf);
const convert = (list = LIST, name = 'klpdemo_patch_local') =>
  klpConvert(read(name), parseKlpSymbols(list, 'list'));
const hasReadelf = spawnSync('readelf', ['--version']).status === 0;

function readelf(bytes: Uint8Array): string {
  const dir = mkdtempSync(join(tmpdir(), 'klp-convert-'));
  try {
    const file = join(dir, 'out.ko');
    writeFileSync(file, bytes);
    return execFileSync('readelf', ['-SrsW', file], { encoding: 'utf8', stdio: ['ignore', 'pipe', 'pipe'] });
  } finally {
    rmSync(dir, { recursive: true });
  }
}

describe('klp-convert', () => {
  it('resolves what is annotated and what is listed, and leaves the rest to exports', () => {
    const { converted, sections, unresolved } = convert();
    expect(converted).toEqual([
      { object: 'klpdemo_target', name: 'klpdemo_twin', sympos: 2, relocations: 1 },
      { object: 'vmlinux', name: 'cmdline_proc_show', sympos: 0, relocations: 1 },
    ]);
    expect(sections).toEqual([
      { name: '.klp.rela.klpdemo_target..text', relocations: 1 },
      { name: '.klp.rela.vmlinux..text', relocations: 1 },
    ]);
    expect(unresolved).toEqual(['klp_enable_patch', '__fentry__', '__x86_return_thunk', 'seq_printf']);
  });

  it.skipIf(!hasReadelf)('writes what readelf reads as the documented format', () => {
    const text = readelf(convert().bytes);
    // Allocated, of livepatch, and about a section: A, o and I.
    expect(text).toMatch(/\.klp\.rela\.klpdemo_target\.\.text RELA .* AIo /);
    expect(text).toMatch(/\.klp\.rela\.vmlinux\.\.text RELA .* AIo /);
    expect(text).toMatch(/R_X86_64_PLT32 .* \.klp\.sym\.klpdemo_target\.klpdemo_twin,2 - 4/);
    expect(text).toMatch(/OS \[0xff20\] \.klp\.sym\.vmlinux\.cmdline_proc_show,0\n/);
    expect(text).not.toMatch(/UND klpdemo_twin|UND cmdline_proc_show/);
  });

  it('keeps every other relocation, symbol and section as it was', () => {
    const before = read('klpdemo_patch_local');
    const after = parseElf(convert().bytes, 'after', X86_64.elf);
    const all = (elf: typeof before) =>
      elf.relaSections.flatMap((rela) =>
        elf
          .relocationTable(rela.index)
          .map((r) => `${rela.info} ${r.offset} ${r.type} ${r.symbol.index} ${r.addend}`),
      );
    const annotations = all(before).filter((line) => {
      const section = before.sections[Number(line.split(' ')[0])];
      return section.name.startsWith('.klp.module_relocs.');
    });
    expect(annotations).toHaveLength(1);
    expect(all(after).sort()).toEqual(
      all(before)
        .filter((line) => !annotations.includes(line))
        .sort(),
    );
    expect(after.symbols).toHaveLength(before.symbols.length);
    for (const section of before.sections) {
      if (/^\.(rela|strtab|symtab|shstrtab|klp)/.test(section.name)) continue;
      expect(Buffer.from(after.data(after.sections[section.index]))).toEqual(
        Buffer.from(before.data(section)),
      );
    }
  });

  it('reads a list by object, as the kernel tree would have it', () => {
    const { converted } = convert(
      'klp-convert-symbol-data.0.1\n*vmlinux\nmeminfo_proc_show\ncmdline_proc_show\n',
    );
    expect(converted[1]).toMatchObject({ object: 'vmlinux', name: 'cmdline_proc_show', sympos: 0 });
  });

  it.each([
    [
      'vmlinux.cmdline_proc_show\next4.cmdline_proc_show\n',
      /'cmdline_proc_show' is in the list more than once/,
    ],
    ['nonsense\n', /list: line 1: 'nonsense' is not OBJECT.SYMBOL,POSITION/],
    ['ok.fine\n*not an object\n', /list: line 2: 'not an object' is not the name of an object/],
  ])('refuses %j', (list, message) => {
    expect(() => convert(list)).toThrow(message);
  });

  it('refuses a module that is no livepatch, and one that is stripped', () => {
    expect(() => convert(LIST, 'klpdemo_target')).toThrow(/not a livepatch/);
    const stripped = parseElf(readFileSync(join(MODULES, '../objects/stripped.o')), 'stripped.o', X86_64.elf);
    expect(() => klpConvert(stripped, new Map())).toThrow(/no symbol table/);
  });

  describe('and places that the loader is done with before a module may come', () => {
    const early = (symbol: string, object = 'klpdemo_target') =>
      klpConvert(
        parseElf(readFileSync(join(MODULES, '../objects/livepatch-early.o')), 'early.ko', X86_64.elf),
        parseKlpSymbols(`${object}.${symbol}\n`, 'list'),
      );

    it.each([
      ['in_replacement', '.altinstr_replacement', /copied into the text before klpdemo_target may be loaded/],
      ['in_aux', '.altinstr_aux', /alternatives are applied/],
      ['in_init', '.init.text', /gone after init/],
      ['in_jump_table', '__jump_table', /jump labels are set/],
      ['in_extable', '__ex_table', /exceptions are sorted/],
      ['in_percpu', '.data..percpu', /per-CPU data is copied to each CPU without relocation/],
      ['under_alternative', '.text', /an alternative may be put there before klpdemo_target/],
      ['under_static_call', '.text', /a static call is set there/],
      ['under_retpoline', '.text', /a retpoline site is rewritten there/],
      ['under_return', '.text', /a return site is rewritten there/],
      ['under_fentry', '.text', /an fentry site is made a nop there/],
      ['under_paravirt', '.text', /a paravirt call is patched there/],
      ['under_jump_label', '.text', /a jump label is set there/],
    ])("refuses a module's %s in %s", (symbol, section, why) => {
      expect(() => early(symbol)).toThrow(why);
      expect(() => early(symbol)).toThrow(`'${symbol}' of klpdemo_target cannot be resolved here`);
      expect(() => early(symbol)).toThrow(`(section ${section}, offset 0x`);
    });

    it.each(['in_replacement', 'under_alternative', 'in_init'])(
      "takes the kernel's own %s, which is resolved first",
      (symbol) => {
        expect(early(symbol, 'vmlinux').converted).toMatchObject([{ name: symbol, relocations: 1 }]);
      },
    );

    it('refuses per-CPU data whatever the object: nothing is relocated there', () => {
      expect(() => early('in_percpu', 'vmlinux')).toThrow(/'in_percpu' of vmlinux cannot be resolved here/);
    });

    it('takes data and plain text, and leaves what is not loaded as it is', () => {
      expect(early('in_data').sections).toEqual([{ name: '.klp.rela.klpdemo_target..data', relocations: 1 }]);
      expect(early('in_text').sections).toEqual([{ name: '.klp.rela.klpdemo_target..text', relocations: 1 }]);
      const debug = parseElf(early('in_text').bytes, 'after', X86_64.elf).section('.rela.debug_info');
      expect(debug?.size).toBe(24);
    });
  });

  it('names what of a list is used nowhere, and means nothing by the rest of a catalogue', () => {
    expect(convert(`${LIST}klpdemo_target.klpdemo_twni\n`).unmatched).toEqual([
      'klpdemo_target.klpdemo_twni',
    ]);
    expect(convert('*vmlinux\nmeminfo_proc_show\ncmdline_proc_show\n').unmatched).toEqual([]);
  });
});
