// Which folder of src/ may import which: docs/architecture.md says it, in lines that are read from there.

import { readdirSync, readFileSync } from 'node:fs';
import { dirname, join, relative } from 'node:path';
import { describe, expect, it } from 'vitest';
import { usedNames } from '../../scripts/used-layout.ts';
import { BUILT_IN } from '../../src/kernel/description.ts';
import { CONSTANTS, LAYOUT } from '../../src/kernel/layout.ts';
import { UAPI } from '../../src/kernel/uapi.ts';

const root = join(import.meta.dirname, '../..');

/** Packages that one folder hides from all others. */
const OWNERS: Readonly<Record<string, string>> = {
  koffi: 'arch/x86_64',
  '@alexaltea/keystone-js': 'arch/x86_64',
  '@alexaltea/capstone-js': 'isa',
  'iced-x86': 'isa',
};

/** The folders of each line, the lowest first. */
function layersOf(page: string): string[][] {
  const [, lines = ''] = /^Imports go down these lines only[\s\S]*?\n\n((?: {4}.*\n)+)/m.exec(page) ?? [];
  return lines
    .trimEnd()
    .split('\n')
    .map((line) => line.trim().split(', '))
    .reverse();
}

interface Import {
  /** Relative to src/. */
  readonly file: string;
  /** As written. */
  readonly from: string;
}

/** Static, lazy and type-only imports and re-exports alike. */
function importsIn(file: string, text: string): Import[] {
  const found = text.matchAll(/(?:\bfrom|\bimport)\s*\(?\s*'([^'\n]+)'/g);
  return [...found].map(([, from]) => ({ file, from }));
}

/** The folder of src/ that a file is in; a port, which is one below arch/, counts as a folder of its own. */
const folderOf = (path: string): string => /^(?:arch\/[^/]+(?=\/)|[^/]+(?=\/))/.exec(path)?.[0] ?? '';

/** What is wrong with an import; undefined where nothing is. */
function objection({ file, from }: Import, layers: readonly (readonly string[])[]): string | undefined {
  const own = folderOf(file);
  if (!from.startsWith('.')) {
    const owner = OWNERS[from];
    return owner === undefined || owner === own ? undefined : `src/${file}: ${from} is behind src/${owner}`;
  }
  const other = folderOf(relative('/src', join('/src', dirname(file), from)));
  const level = (folder: string): number => layers.findIndex((layer) => layer.includes(folder));
  // What stands in src/ itself is the public face: it sees all, and nothing sees it.
  if (own === '' || own === other) return undefined;
  if (level(own) < 0) return `src/${file}: src/${own} is in no layer`;
  return level(other) >= 0 && level(other) < level(own)
    ? undefined
    : `src/${file}: src/${own} imports ${from}, which is not below it`;
}

const LAYERS = layersOf(readFileSync(join(root, 'docs/architecture.md'), 'utf8'));
const FILES = readdirSync(join(root, 'src'), { recursive: true, encoding: 'utf8' }).filter((file) =>
  file.endsWith('.ts'),
);
const IMPORTS = FILES.flatMap((file) => importsIn(file, readFileSync(join(root, 'src', file), 'utf8')));

describe('the layers of docs/architecture.md', () => {
  it('are kept by every import of src/', () => {
    expect(IMPORTS.flatMap((one) => objection(one, LAYERS) ?? [])).toEqual([]);
  });

  it('hold every folder of src/ once', () => {
    const folders = [...new Set(FILES.map(folderOf))].filter(Boolean).sort();
    expect(LAYERS.flat().sort()).toEqual(folders);
  });

  it('are looked for in all imports: static, of types, lazy', () => {
    const text = [
      "import { a } from '../isa/a.ts';",
      "import type { B } from '../kernel/b.ts';",
      "export * from '../cli/c.ts';",
      "const d = await import('../cli/d.ts');",
      "import 'koffi';",
    ].join('\n');
    const from = importsIn('livepatch/x.ts', text).map((one) => one.from);
    expect(from).toEqual(['../isa/a.ts', '../kernel/b.ts', '../cli/c.ts', '../cli/d.ts', 'koffi']);
    expect(IMPORTS.length).toBeGreaterThan(FILES.length);
  });

  it.each([
    ['arch/x86_64/unicorn/unicorn.ts', 'koffi', true],
    ['guest/unicorn.ts', 'iced-x86', false],
    ['machine/machine.ts', 'koffi', false],
    ['livepatch/core.ts', '../kernel/events.ts', true],
    ['livepatch/core.ts', './patch.ts', true],
    ['livepatch/core.ts', '../machine/machine.ts', false],
    ['isa/asm/deep.ts', '../../elf/sections.ts', false],
    ['isa/asm/deep.ts', '../assembler.ts', true],
    ['isa/decoder.ts', '../index.ts', false],
    ['newcomer/thing.ts', '../isa/decoder.ts', false],
    ['index.ts', './machine/machine.ts', true],
  ])('%s with an import of %s: allowed is %s', (file, from, allowed) => {
    expect(objection({ file, from }, LAYERS) === undefined).toBe(allowed);
  });
});

/** What the built-in description is made of, and who makes it of that. */
const TABLES: readonly string[] = ['kernel/layout.ts', 'kernel/private_layout.ts'];
const MAKERS: readonly string[] = ['kernel/describe.ts', 'kernel/description.ts', 'kernel/private_layout.ts'];

/** The file of src/ that an import of one of its files leads to. */
const imported = ({ file, from }: Import): string => relative('/src', join('/src', dirname(file), from));

/** The members of structures of the built-in description, and `size`, as they are written or in camel case. */
const MEMBERS = new Set(
  Object.values(BUILT_IN.structs).flatMap(({ fields }) =>
    Object.keys(fields).flatMap((name) => [name, name.replace(/_(\w)/g, (_, c: string) => c.toUpperCase())]),
  ),
);

/** Object literals at the top level that give three or more members of structures a number each. */
function offsetTables(text: string): string[] {
  const literals = text.matchAll(/^(?:export )?const (\w+)[^=\n]*= \{\n?([^{}]*)\}/gm);
  return [...literals].flatMap(([, name, body]) => {
    const rows = [...body.matchAll(/(\w+): (?:0x[\da-f]+|\d+)n?(?=\s*[,}\n]|\s*$)/g)].map(([, key]) => key);
    return rows.length >= 3 && rows.filter((key) => MEMBERS.has(key)).length >= 3 ? [name] : [];
  });
}

/** Reads and writes of guest memory at an address and a number. Words of an array, `8 * i`, have no number of their own. */
function literalOffsets(text: string): string[] {
  const access = /\.(?:(?:read|write)[US](?:8|16|32|64)|readCString|readBytes|writeBytes|view)\(/g;
  return [...text.matchAll(access)].flatMap(({ index, 0: call }) => {
    const first = /^(?:[^(),]|\((?:[^()]|\([^()]*\))*\))*/.exec(text.slice(index + call.length))?.[0] ?? '';
    return /\+ (?:(?:0x[\da-f]+|\d+)n?|BigInt\(\d+\))$/.test(first) ? [call + first] : [];
  });
}

/** Structures whose size is said in a comment, with a number behind it. */
function literalSizes(text: string): string[] {
  return [...text.matchAll(/sizeof\(struct (\w+)\)[^\n]*\n[^\n]*\bconst \w+ = \d+/g)].map(([, name]) => name);
}

/** Constants of the kernel, and the ABI's, that are given a number once more: declared, or in a row of a table. */
function redeclared(text: string): [name: string, value: bigint][] {
  const number = /(-?(?:0x[\da-f_]+|\d[\d_]*))n?(?: << (\d+)n?)?(?=\s*[;,\]])/.source;
  const forms = [`^(?:export )?const (\\w+) = ${number}`, `\\['(\\w+)', ${number}`, `^ +(\\w+): ${number}`];
  return forms.flatMap((form) =>
    [...text.matchAll(new RegExp(form, 'gm'))]
      .filter(([, name]) => Object.hasOwn(KNOWN, name))
      .map(([, name, value, shift]): [string, bigint] => [
        name,
        BigInt(value.replaceAll('_', '')) << BigInt(shift ?? 0),
      ]),
  );
}
const KNOWN: Readonly<Record<string, number | bigint>> = { ...BUILT_IN.constants, ...UAPI };

describe('what differs between kernels', () => {
  const textOf = (file: string): string => readFileSync(join(root, 'src', file), 'utf8');

  it('comes from a description: no other part of src/ imports the tables that the built-in one is made of', () => {
    const users = IMPORTS.filter((one) => TABLES.includes(imported(one))).map(({ file }) => file);
    expect([...new Set(users)].sort()).toEqual(MAKERS);
  });

  it('is in the built-in tables as far as something names it, and no further', () => {
    const used = usedNames(root);
    const unused = Object.entries(LAYOUT).flatMap(([name, { fields, bitfields }]) => {
      const members = used.members(name);
      const known = [...Object.keys(fields), ...Object.keys(bitfields)];
      if (known.length === 0 && !members.itself) return [name];
      return known.filter((member) => !members.has(member)).map((member) => `${name}.${member}`);
    });
    expect([...unused, ...Object.keys(CONSTANTS).filter((name) => !used.constant(name))]).toEqual([]);
    expect(used.members('pt_regs').has(['no', 'member'].join('_'))).toBe(false);
  });

  it('is no table of offsets beside it', () => {
    const beside = FILES.filter((file) => !/^kernel\/(private_)?layout\.ts$/.test(file));
    const known: readonly string[] = [
      // Of objects of any kernel, which are read without one.
      'src/elf/table_rows.ts: OLD_ALT_INSTR',
      // Not of structures: an empty answer, registers of the engine, words of a register dump.
      'src/objtool/diff.ts: NO_ANSWER',
      'src/arch/x86_64/context.ts: REG',
      'src/arch/x86_64/show_regs.ts: SYSTEM',
    ];
    const found = beside.flatMap((file) => offsetTables(textOf(file)).map((name) => `src/${file}: ${name}`));
    expect(found.filter((one) => !known.includes(one))).toEqual([]);
  });

  it('is no constant that is given its number once more, but where no kernel is seen', () => {
    const tables = /^kernel\/(?:layout|uapi|private_layout)\.ts$/;
    const found = FILES.filter((file) => !tables.test(file)).flatMap((file) =>
      redeclared(textOf(file)).map(([name, value]) => ({ file: `src/${file}`, name, value })),
    );
    const known: readonly [file: RegExp, names: RegExp][] = [
      // What guest memory is made of, below the kernel; host and guest share it.
      [/^src\/guest\/(?:addr|memory)\.ts$/, /^(?:PAGE_SHIFT|THREAD_SIZE|MODULES_\w+)$/],
      // Formats of files of any kernel.
      [
        /^src\/(?:elf\/orc|arch\/x86_64\/unwind\/orc_registers|objtool\/special_sections)\.ts$/,
        /^(?:ORC_REG_\w+|BUGFLAG_WARNING)$/,
      ],
      // The manual's vectors, and a bit of CPUID.
      [/^src\/arch\/x86_64\/traps\//, /^X86_TRAP_\w+$/],
      [/^src\/arch\/x86_64\/objtool\/code\.ts$/, /^X86_FEATURE_SMAP$/],
      // What events and reports say of a transition, whatever the kernel.
      [/^src\/(?:scenario\/checks|cli\/run\/summary)\.ts$/, /^KLP_PATCHED$/],
      // Of the core, where reading and writing are no directions of an iov_iter.
      [/^src\/arch\/x86_64\/core\/kinds\.ts$/, /^(?:READ|WRITE)$/],
    ];
    const others = found.filter(
      ({ file, name }) => !known.some(([at, what]) => at.test(file) && what.test(name)),
    );
    expect(others).toEqual([]);
    const wrong = found.filter(({ name, value }) => BigInt(KNOWN[name]) !== value);
    expect(wrong).toEqual([]);
    expect(found.map(({ name }) => name)).toEqual(expect.arrayContaining(['PAGE_SHIFT', 'MODULES_VADDR']));
  });

  it.each([
    ['const ERESTARTSYS = 512;', [['ERESTARTSYS', 512n]]],
    ["  ['GFP_KERNEL', 0xcc0],", [['GFP_KERNEL', 0xcc0n]]],
    ['export const PAGE_SIZE = 1 << 12;', [['PAGE_SIZE', 4096n]]],
    ['  HZ: 1000,', [['HZ', 1000n]]],
    ['const shift = PAGE_SHIFT, 3;', []],
    ['const OURS = 512;', []],
  ])('would be seen in %s', (text, names) => {
    expect(redeclared(text)).toEqual(names);
  });

  it('is no number that is added to an address where the guest is read or written', () => {
    const literal = FILES.flatMap((file) => literalOffsets(textOf(file)).map((at) => `src/${file}: ${at}`));
    expect(literal).toEqual([]);
  });

  it('is no number of bytes by the name of a structure', () => {
    const named = FILES.flatMap((file) => literalSizes(textOf(file)).map((at) => `src/${file}: ${at}`));
    expect(named).toEqual([
      // Of the log, whose records are objects of src/ and lie in no memory of the guest.
      'src/kernel/printk_ringbuffer.ts: prb_data_block',
    ]);
  });

  it.each([
    ['mem.readS32(at + 4n)', 1],
    ['this.#fs.mem.writeU64(file + BigInt(8), value)', 1],
    ['mem.readCString(table.addr + 0x10n)', 1],
    ['mem.readU64(mem.readU64(ptr + 8n))', 1],
    ['mem.writeU32(x + this.#doneAt, done + 1)', 0],
    ['mem.readU64(list + VA_LIST.regSaveArea)', 0],
    ['mem.writeU64(base + BigInt(8 * i), word)', 0],
    ['view.getUint16(at + 6, true)', 0],
  ])('would be seen in %s: %i times', (text, times) => {
    expect(literalOffsets(text)).toHaveLength(times);
  });

  it('would be seen behind the name of a structure', () => {
    expect(literalSizes('/** sizeof(struct alt_instr) */\nconst ALT_INSTR_SIZE = 12;')).toEqual([
      'alt_instr',
    ]);
    expect(literalSizes('/** sizeof(struct pt_regs) */\nexport function size() {}')).toEqual([]);
  });

  it('would be seen in a table of offsets', () => {
    expect(offsetTables('const KLP_OPS = { node: 0, funcStack: 16, fops: 32 } as const;')).toEqual([
      'KLP_OPS',
    ]);
    expect(offsetTables('const KLP_SHADOW = { next: 0n, obj: 32n, id: 40n, data: 48n } as const;')).toEqual([
      'KLP_SHADOW',
    ]);
    expect(offsetTables('const SIGNALS = { hup: 1, int: 2, quit: 3 };')).toEqual([]);
  });
});
