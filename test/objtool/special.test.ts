// What special sections and symbols add to the code, each by itself, on inputs made by hand.

import { describe, expect, test } from 'vitest';
import { assembleImage } from '../../src/arch/x86_64/asm/assembler.ts';
import { X86_64 } from '../../src/arch/x86_64/x86_64.ts';
import {
  BIND_GLOBAL,
  BIND_LOCAL,
  type CodeAlternative,
  type CodeMark,
  inputFromImage,
  type ObjtoolInput,
  type RelocTable,
  SYM_FILE,
  SYM_FUNC,
  SYM_SECTION,
  type SymbolRow,
  symbolTable,
} from '../../src/objtool/input.ts';
import { LATER_NORETURNS } from '../../src/objtool/noreturn.ts';
import { createOrc } from '../../src/objtool/orc_gen.ts';

interface Source {
  readonly input: ObjtoolInput;
  /** Offset of a label, a function of no length. */
  at(label: string): number;
}

/** Functions by name; `label:` lines mark places. */
async function source(functions: Readonly<Record<string, string>>): Promise<Source> {
  const text = Object.entries(functions)
    .map(([name, body]) => {
      const lines = body.replace(/^(\w+):$/gm, 'SYM_INNER_LABEL($1)');
      return `SYM_FUNC_START(${name})\n${lines}\nSYM_FUNC_END(${name})\n`;
    })
    .join('');
  const image = await assembleImage([{ path: 'x.s', text }], {});
  const base = image.sections.find((s) => s.name === '.text')?.addr ?? 0n;
  const at = (label: string): number => {
    const symbol = image.symbols.find((s) => s.name === label);
    if (!symbol) throw new Error(`no ${label}`);
    return Number(symbol.addr - base);
  };
  return { input: inputFromImage(image, X86_64.code), at };
}

/** The entry at a place, short: `sp+16`. */
function entry(input: ObjtoolInput, offset: number): string {
  const { rows } = createOrc(input);
  let found = -1;
  for (let i = 0; i < rows.count && rows.offset[i] <= offset; i++) found = i;
  const flags = rows.flags[found] ?? 0;
  return X86_64.code.orc
    .text({
      spOffset: rows.spOffset[found] ?? 0,
      fpOffset: rows.fpOffset[found] ?? 0,
      spReg: flags & 0xf,
      fpReg: (flags >> 4) & 0xf,
      type: (flags >> 8) & 3,
      end: false,
    })
    .replace(/^sp:| bp:.*/g, '');
}

const mark = (offset: number): CodeMark => ({ section: 1, offset });
const way = (kind: CodeAlternative['kind'], from: number, to: number, lengths = [0, 0]): CodeAlternative => ({
  kind,
  from: mark(from),
  to: mark(to),
  fromLength: lengths[0],
  toLength: lengths[1],
});

describe('ways that no branch shows', () => {
  test('a no-op at a jump label leads to the label as well', async () => {
    const { input, at } = await source({
      f: 'push rbx\nsite:\nNOP5\npop rbx\nret\nother:\nnop\npop rbx\nret',
    });
    expect(entry(input, at('other'))).toBe('(und)');
    const labels = { ...input, alternatives: [way('jumpLabel', at('site'), at('other'))] };
    expect(entry(labels, at('other'))).toBe('sp+16');
  });

  test('a jump at a jump label may become a no-op', async () => {
    const { input, at } = await source({
      f: 'push rbx\nsite:\njmp other\nafter:\nnop\nother:\npop rbx\nret',
    });
    expect(entry(input, at('after'))).toBe('(und)');
    const labels = { ...input, alternatives: [way('jumpLabel', at('site'), at('other'))] };
    expect(entry(labels, at('after'))).toBe('sp+16');
  });

  test('a fixup is reached with the state before the instruction that faults', async () => {
    const { input, at } = await source({
      f: 'push rbx\nsite:\npop rbx\nret\nfixup:\nnop\npop rbx\nret',
    });
    const fixed = { ...input, alternatives: [way('fixup', at('site'), at('fixup'))] };
    expect(entry(fixed, at('fixup'))).toBe('sp+16');
  });

  test('code and what may replace it share one state at each byte', async () => {
    const { input, at } = await source({
      f: 'push rbx\nsite:\nNOP5\nafter:\npop rbx\nret',
      g: 'replacement:\npush rax\npop rax\nret',
    });
    const length = 2;
    const replaced = { ...input, alternatives: [way('replace', at('site'), at('replacement'), [5, length])] };
    expect(entry(input, at('site') + 1)).toBe('sp+16');
    expect(entry(replaced, at('site'))).toBe('sp+16');
    expect(entry(replaced, at('site') + 1)).toBe('sp+24');
    expect(entry(replaced, at('site') + 2)).toBe('sp+16');
    expect(entry(replaced, at('after'))).toBe('sp+16');
  });

  test('two replacements of the same code share its states since 6.4, and the last has them before', async () => {
    const { input, at } = await source({
      f: 'site:\nNOP5\nafter:\nret',
      g: 'first:\npush rax\npop rax\nmov rax, rbx\nsecond:\nmov rax, rbx\npush rax\npop rax\nret',
    });
    const alternatives = ['first', 'second'].map((to) => way('replace', at('site'), at(to), [5, 5]));
    const shared = { ...input, alternatives, sharedOriginals: true };
    expect([1, 2, 3, 4, 5].map((i) => entry(shared, at('site') + i))).toEqual([
      'sp+16',
      'sp+8',
      'sp+8',
      'sp+16',
      'sp+8',
    ]);
    expect(entry({ ...input, alternatives }, at('site') + 1)).toBe('sp+8');
    expect(entry({ ...input, alternatives }, at('site') + 4)).toBe('sp+16');
  });

  test('two replacements of different lengths of the same code are warned of', async () => {
    const { input, at } = await source({
      f: 'site:\nNOP5\nret',
      g: 'other:\nNOP5\nret',
    });
    const alternatives = [5, 1].map((n) => way('replace', at('site'), at('other'), [n, 5]));
    const { warnings } = createOrc({ ...input, alternatives, sharedOriginals: true });
    expect(warnings[0]).toMatch(/weirdly overlapping alternative! 5 != 1$/);
  });

  test('a stack that is filled up within a replacement by calls of the next instruction is followed', async () => {
    const { input, at } = await source({
      f: `site:\n${'nop\n'.repeat(15)}after:\nret`,
      g: 'fill:\ncall .L1\nint3\n.L1: call .L2\nint3\n.L2: add rsp, 16\nend:\nret',
    });
    const length = at('end') - at('fill');
    const replaced = { ...input, alternatives: [way('replace', at('site'), at('fill'), [15, length])] };
    expect([0, 6, 12, 15].map((i) => entry(replaced, at('site') + i))).toEqual([
      'sp+8',
      'sp+16',
      'sp+24',
      'sp+8',
    ]);
  });

  test('code and a replacement that disagree at one byte are warned of', async () => {
    const { input, at } = await source({
      f: 'site:\npush rbx\npop rbx\nnop\nret',
      g: 'replacement:\nnop\nnop\nnop\nret',
    });
    const { warnings } = createOrc({
      ...input,
      alternatives: [way('replace', at('site'), at('replacement'), [3, 3])],
    });
    expect(warnings[0]).toMatch(/stack layout conflict in alternatives$/);
  });

  test('a jump table in .rodata gives the targets of an indirect jump', async () => {
    const { input, at } = await source({
      f: 'push rbx\nload:\nmov rax, [rax*8+0]\njmp rax\none:\nnop\npop rbx\nret\ntwo:\nnop\npop rbx\nret',
    });
    expect(entry(input, at('two'))).toBe('(und)');
    const table = [at('one'), at('two')];
    expect(entry(withTable(input, at('load') + 4, table), at('one'))).toBe('sp+16');
    expect(entry(withTable(input, at('load') + 4, table), at('two'))).toBe('sp+16');
  });
});

/** Text whose instruction at `use` holds the address of a table of text addresses. */
function withTable(input: ObjtoolInput, use: number, entries: readonly number[]): ObjtoolInput {
  const rows: SymbolRow[] = [];
  for (let s = 1; s < input.symbols.count; s++) rows.push(rowOf(input, s));
  const [text, rodata] = [rows.length + 1, rows.length + 2];
  const section = { name: '', value: 0, size: 0, type: SYM_SECTION, bind: BIND_LOCAL };
  rows.push({ ...section, section: 1 }, { ...section, section: 2 });
  const [none, code] = input.sections;
  return {
    ...input,
    symbols: symbolTable(rows),
    sections: [
      none,
      { ...code, relocs: relocTable([{ offset: use, symbol: rodata, addend: 0, type: 11 }]) },
      {
        name: '.rodata',
        bytes: new Uint8Array(entries.length * 8),
        text: false,
        rodata: true,
        relocs: relocTable(entries.map((addend, i) => ({ offset: i * 8, symbol: text, addend, type: 1 }))),
      },
    ],
  };
}

interface RelocRow {
  readonly offset: number;
  readonly symbol: number;
  readonly addend: number;
  readonly type: number;
}

const relocTable = (rows: readonly RelocRow[]): RelocTable => ({
  count: rows.length,
  offset: Int32Array.from(rows, (r) => r.offset),
  symbol: Int32Array.from(rows, (r) => r.symbol),
  addend: Int32Array.from(rows, (r) => r.addend),
  type: Uint8Array.from(rows, (r) => r.type),
  sorted: true,
});

function rowOf({ symbols }: ObjtoolInput, s: number): SymbolRow {
  const { section, value, size, type, bind } = symbols;
  return {
    name: symbols.name(s),
    section: section[s],
    value: value[s],
    size: size[s],
    type: type[s],
    bind: bind[s],
  };
}

/** The same with symbols changed by name, and put in the order of `names`. */
function renamed(
  input: ObjtoolInput,
  rows: readonly (Partial<SymbolRow> & { readonly was?: string })[],
): ObjtoolInput {
  const known = new Map<string, SymbolRow>();
  for (let s = 1; s < input.symbols.count; s++) known.set(input.symbols.name(s), rowOf(input, s));
  const file: SymbolRow = { name: '', section: 0, value: 0, size: 0, type: SYM_FILE, bind: BIND_LOCAL };
  return {
    ...input,
    symbols: symbolTable(rows.map(({ was, ...row }) => ({ ...(known.get(was ?? '') ?? file), ...row }))),
  };
}

describe('where execution goes on', () => {
  test('behind the ud2 of a WARN, not behind any other', async () => {
    const { input, at } = await source({ f: 'push rbx\nsite:\nud2\nafter:\nnop\npop rbx\nret' });
    expect(entry(input, at('after'))).toBe('(und)');
    expect(entry({ ...input, reachable: [mark(at('site'))] }, at('after'))).toBe('sp+16');
  });

  test('not behind a call of a local function that never returns', async () => {
    const { input, at } = await source({
      f: 'push rbx\ncall dies\nafter:\nnop\npop rbx\nret',
      dies: '.L: nop\njmp .L',
    });
    expect(entry(input, at('after'))).toBe('(und)');
  });

  test.each([
    ['_RNvNtCs2lKf6AS60Zg_4core9panicking18panic_bounds_check'],
    ['_RNvNtNtCs2lKf6AS60Zg_4core9panicking11panic_const24panic_const_sub_overflow'],
    ['_RNvNtNtCs2lKf6AS60Zg_4core5slice5index24slice_end_index_len_fail'],
    ['_RNvNtCs2lKf6AS60Zg_4core6result13unwrap_failed'],
    ['_RNvCsdBezzDwma51_7___rustc17rust_begin_unwind'],
    ['native_play_dead'],
  ])('not behind a call of %s, which later kernels know', async (name) => {
    const { input, at } = await source({ f: 'push rbx\ncall g\nafter:\nnop\npop rbx\nret', g: 'ret' });
    const named = renamed(input, [{ was: 'f' }, { was: 'g', name, bind: BIND_GLOBAL }]);
    expect(entry(named, at('after'))).toBe('sp+16');
    expect(entry({ ...named, noreturn: LATER_NORETURNS }, at('after'))).toBe('(und)');
  });

  test('behind a call of a function of Rust that only looks like a panic', async () => {
    const { input, at } = await source({ f: 'push rbx\ncall g\nafter:\nnop\npop rbx\nret', g: 'ret' });
    for (const name of [
      '_RNvNtCs2lKf6AS60Zg_4core9panicking9panic_fmt2',
      'not_RNvNtCs2lKf6AS60Zg_4core9panicking9panic_fmt',
      '_RNvNtCs2lKf6AS60Zg_4mine9panicking9panic_fmt',
    ]) {
      const named = renamed(input, [{ was: 'f' }, { was: 'g', name, bind: BIND_GLOBAL }]);
      expect(entry({ ...named, noreturn: LATER_NORETURNS }, at('after'))).toBe('sp+16');
    }
  });

  test('with the caller, behind a tail call that leaves out the endbr64 of the other function', async () => {
    const { input, at } = await source({
      f: 'test rdi, rdi\nje inside\nrest:\nret',
      g: 'endbr64\ninside:\npush rbx\npop rbx\nret',
    });
    const functions = renamed(input, [{ was: 'f' }, { was: 'g' }]);
    expect(createOrc(functions).warnings).toEqual([]);
    expect(entry(functions, at('rest'))).toBe('sp+8');
    const without = await source({
      f: 'test rdi, rdi\nje inside\nrest:\nret',
      g: 'nop\nnop\nnop\nnop\ninside:\npush rbx\npop rbx\nret',
    });
    const { warnings } = createOrc(renamed(without.input, [{ was: 'f' }, { was: 'g' }]));
    expect(warnings[0]).toBe('f() falls through to next function g()');
  });

  test('behind a call of a function whose cold part returns', async () => {
    const { input, at } = await source({
      f: 'push rbx\ncall part\nafter:\nnop\npop rbx\nret',
      part: '.L: nop\njmp .L',
      part2: 'ret',
    });
    const cold = renamed(input, [{ was: 'f' }, { was: 'part' }, { was: 'part2', name: 'part.cold' }]);
    expect(entry(cold, at('after'))).toBe('sp+16');
  });

  test('not at all in a function that is marked as non-standard', async () => {
    const { input, at } = await source({
      f: 'push rbx\nnop\npop rbx\nret',
      g: 'push rbx\nmiddle:\npop rbx\nret',
    });
    expect(entry({ ...input, ignored: [mark(at('g'))] }, at('middle'))).toBe('(und)');
  });
});

describe('cold parts', () => {
  const functions = {
    a: 'push rbx\npush r12\njne cold_a\npop r12\npop rbx\nret',
    b: 'push rbx\njne cold_b\npop rbx\nret',
    cold_a: 'in_a:\nnop\npop r12\npop rbx\nret',
    cold_b: 'in_b:\nnop\npop rbx\nret',
  };

  test('of static functions with one name belong to the function of their file', async () => {
    const { input, at } = await source(functions);
    const local = { type: SYM_FUNC, bind: BIND_LOCAL };
    const twins = renamed(input, [
      {},
      { was: 'a', name: 'same', ...local },
      { was: 'cold_a', name: 'same.cold', ...local },
      {},
      { was: 'b', name: 'same', ...local },
      { was: 'cold_b', name: 'same.cold', ...local },
    ]);
    const result = createOrc(twins);
    expect(result.warnings).toEqual([]);
    expect(result.code.parent[3]).toBe(2);
    expect(result.code.parent[6]).toBe(5);
    expect(entry(twins, at('in_a'))).toBe('sp+24');
    expect(entry(twins, at('in_b'))).toBe('sp+16');
  });

  test('are found by the jump to them when no name tells', async () => {
    const { input, at } = await source(functions);
    const odd = renamed(input, [
      { was: 'a' },
      { was: 'b' },
      { was: 'cold_a', name: 'x.cold' },
      { was: 'cold_b', name: 'y.cold' },
    ]);
    expect(entry(odd, at('in_a'))).toBe('sp+24');
    expect(entry(odd, at('in_b'))).toBe('sp+16');
  });

  test('that are no cold parts are tail calls, which nothing may be left on the stack for', async () => {
    const { input } = await source(functions);
    const plain = renamed(input, [
      { was: 'a', bind: BIND_GLOBAL },
      { was: 'b' },
      { was: 'cold_a' },
      { was: 'cold_b' },
    ]);
    const { warnings } = createOrc(plain);
    expect(warnings.filter((w) => w.includes('sibling call')).length).toBe(2);
  });
});

test('of symbols for one function the last stands for it', async () => {
  const { input } = await source({ f: 'push rbx\npop rbx\nret' });
  const row = rowOf(input, 1);
  const { code, warnings } = createOrc({ ...input, symbols: symbolTable([row, { ...row, name: 'alias' }]) });
  expect(warnings).toEqual([]);
  expect([...code.funcs]).toEqual([2]);
  expect(code.parent[1]).toBe(2);
});
