import { deserialize, serialize } from 'node:v8';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { assembleImage, assembleSnippet } from '../../src/arch/x86_64/asm/assembler.ts';
import type { AsmImage, AsmOptions } from '../../src/asm/assembler.ts';

const TEXT = 0xffffffff81000000n;

async function assemble(text: string, options: AsmOptions = {}): Promise<AsmImage> {
  return assembleImage([{ path: 'asm/x.s', text }], options);
}

/** One function's body, as hex. */
async function body(text: string, rest = ''): Promise<string> {
  const image = await assemble(`SYM_FUNC_START(f)\n${text}\nSYM_FUNC_END(f)\n${rest}`);
  const size = image.symbols.find((s) => s.name === 'f')?.size ?? 0;
  return Buffer.from(section(image, '.text').bytes.subarray(0, size)).toString('hex');
}

function section(image: AsmImage, name: string): AsmImage['sections'][number] {
  const found = image.sections.find((s) => s.name === name);
  if (!found) throw new Error(`no ${name}`);
  return found;
}

function symbol(image: AsmImage, name: string): AsmImage['symbols'][number] {
  const found = image.symbols.find((s) => s.name === name);
  if (!found) throw new Error(`no ${name}`);
  return found;
}

describe('layout', () => {
  test('functions are 16-byte aligned, and int3 fills the space between them', async () => {
    const image = await assemble(`
      SYM_FUNC_START(a)
        ret
      SYM_FUNC_END(a)
      SYM_FUNC_START_LOCAL(b)
        ret
      SYM_FUNC_END(b)`);
    expect(symbol(image, 'a')).toMatchObject({ addr: TEXT, size: 1, type: 'func', global: true });
    expect(symbol(image, 'b')).toMatchObject({ addr: TEXT + 16n, size: 1, global: false, file: 'asm/x.s' });
    expect([...section(image, '.text').bytes]).toEqual([0xc3, ...Array(15).fill(0xcc), 0xc3]);
  });

  test('sections follow each other page aligned, and user text has its own place', async () => {
    const image = await assemble(`
      SYM_FUNC_START(f)
        ret
      SYM_FUNC_END(f)
      .rodata
      SYM_DATA_START(r)
        .quad f
      SYM_DATA_END(r)
      .bss
      SYM_DATA_START(z)
        .skip 0x2000
      SYM_DATA_END(z)
      .section .user.text
      SYM_CODE_START(u)
        syscall
      SYM_CODE_END(u)`);
    expect(image.sections.map((s) => [s.name, s.addr, s.size, s.bytes.length])).toEqual([
      ['.text', TEXT, 1, 1],
      ['.rodata', TEXT + 0x1000n, 8, 8],
      ['.bss', TEXT + 0x2000n, 0x2000, 0],
      ['.user.text', 0x400000n, 2, 2],
    ]);
    expect(Buffer.from(section(image, '.rodata').bytes).readBigUInt64LE()).toBe(TEXT);
  });

  test('a per-CPU symbol is an offset in the area, reached by an absolute gs operand', async () => {
    const text = `
      .section .data..percpu
      SYM_DATA_START(pad)
        .skip 0x40
      SYM_DATA_END(pad)
      SYM_DATA_START(current_task)
        .quad 0
      SYM_DATA_END(current_task)`;
    expect(await body('mov rax, gs:[current_task]\nmov gs:[current_task+8], rsp', text)).toBe(
      '65488b0425400000006548892425' + '48000000',
    );
  });

  test('a branch to a label near is short, to a function always rel32', async () => {
    expect(await body('.Lx: jmp .Lx\njne .Lx\njmp f\njne f')).toBe('ebfe75fce9f7ffffff0f85f1ffffff');
  });

  test('a short branch grows when its label moves out of reach', () =>
    fc.assert(
      fc.asyncProperty(
        fc.integer({ min: 100, max: 140 }),
        fc.integer({ min: 1, max: 4 }),
        async (gap, jumps) => {
          const hex = await body(`${'jmp .Lend\n'.repeat(jumps)}.fill ${gap}, 1, 0x90\n.Lend: ret`);
          const bytes = Buffer.from(hex, 'hex');
          let at = 0;
          for (let i = 0; i < jumps; i++) {
            const short = bytes[at] === 0xeb;
            const next = at + (short ? 2 : 5);
            const target = next + (short ? bytes.readInt8(at + 1) : bytes.readInt32LE(at + 1));
            expect(target).toBe(bytes.length - 1);
            at = next;
          }
          expect(at + gap + 1).toBe(bytes.length);
        },
      ),
      { numRuns: 40 },
    ));

  test('.balign inside a function is filled with nops that can be executed', async () => {
    expect(await body('ret\n.balign 8\nret')).toBe('c30f1f8000000000c3');
  });

  test('bases can be given', async () => {
    const image = await assemble('SYM_FUNC_START(f)\nmov rdi, offset f\nSYM_FUNC_END(f)', {
      bases: { '.text': 0xffffffffc0100000n },
    });
    expect(Buffer.from(section(image, '.text').bytes).toString('hex')).toBe('48c7c7000010c0');
  });
});

describe('symbols across files', () => {
  test('a file sees its own static symbol before a global one, also through a macro of a header', async () => {
    const image = await assembleImage(
      [
        { path: 'asm/ops.inc', text: '.macro OPS read\n.quad \\read\n.endm' },
        { path: 'asm/a.s', text: 'SYM_FUNC_START(show)\nret\nSYM_FUNC_END(show)' },
        {
          path: 'asm/b.s',
          text: `SYM_FUNC_START_LOCAL(show)\nret\nSYM_FUNC_END(show)
            .rodata\nSYM_DATA_START(ops)\nOPS show\nSYM_DATA_END(ops)`,
        },
      ],
      {},
    );
    expect(Buffer.from(section(image, '.rodata').bytes).readBigUInt64LE()).toBe(TEXT + 16n);
    expect(symbol(image, 'ops').file).toBe('asm/b.s');
  });

  test('exports, fentry sites, hints and functions that never return are recorded', async () => {
    const image = await assemble(`
      SYM_FUNC_START(__fentry__)
        ret
      SYM_FUNC_END(__fentry__)
      SYM_FUNC_START(panic)
        FENTRY
        hlt
        ANNOTATE_NORETURN
        call panic
        UNWIND_HINT_REGS base=rbp offset=8 partial=1
      SYM_INNER_LABEL(inside)
        hlt
      SYM_FUNC_END(panic)
      NORETURN(panic)
      EXPORT_SYMBOL(panic)
      EXPORT_SYMBOL_GPL(__fentry__)`);
    expect(image.fentrySites).toEqual([TEXT + 16n]);
    expect(image.deadEnds).toEqual([TEXT + 22n]);
    expect(image.hints).toEqual([{ addr: TEXT + 27n, kind: 'regs_partial', base: 'rbp', offset: 8 }]);
    expect(symbol(image, 'inside')).toMatchObject({ addr: TEXT + 27n, size: 0, type: 'label', global: true });
    expect(image.noreturn).toEqual(['panic']);
    expect(image.exports).toEqual([
      { name: 'panic', gpl: false },
      { name: '__fentry__', gpl: true },
    ]);
  });

  test('the image survives being written to disk', async () => {
    const image = await assemble('SYM_FUNC_START(f)\nUNWIND_HINT_EMPTY\nret\nSYM_FUNC_END(f)');
    expect(deserialize(serialize(image))).toEqual(image);
  });
});

describe('the bytes that Keystone does not give', () => {
  test.each([
    ['ENDBR', 'f30f1efa'],
    ['endbr64', 'f30f1efa'],
    ['NOP5', '0f1f440000'],
    ['SYSRETQ', '480f07'],
    ['INT3', 'cc'],
    ['pushf', '9c'],
    ['nop dword ptr [rax]', '0f1f00'],
    ['push [rax+8]', 'ff7008'],
    ['pop [rax]', '8f00'],
    ['mov rax, [0x1000]', '488b042500100000'],
    ['cmp dword ptr gs:[0x1000], 1', '65833c250010000001'],
  ])('%s', async (text, hex) => {
    expect(await body(text)).toBe(hex);
  });
});

describe('macros and constants', () => {
  test('arguments by position, by name and by default', async () => {
    const macro = '.macro M a, b=rbx, c:req\npush \\a\npush \\b\npush \\c\n.endm\n';
    expect(await body(`${macro}M rax, c=rdx\nM c=rcx b=rdi a=rsi\nM(rax, rcx, rdx)`)).toBe(
      '505352565751505152',
    );
  });

  test('a macro, a repetition, a condition and a constant may stand behind labels on their line', async () => {
    const macro = '.macro SAVE what\npush \\what\n.endm\n';
    expect(await body(`${macro}jmp 2f\n1: .Lhere: SAVE rax\n2: .rept 2\nSAVE(rcx)\n.endr\njmp .Lhere`)).toBe(
      'eb01505151ebfb',
    );
    expect(await body('1: N = 1\n.Lx: .if N\nnop\n.else\nret\n.endif\njmp 1b')).toBe('90ebfd');
    expect(
      await body('.macro AT name\n\\name: SPIN \\name\n.endm\n.macro SPIN to\njmp \\to\n.endm\nAT .Lagain'),
    ).toBe('ebfe');
  });

  test('\\@ makes labels of a macro its own at each use', async () => {
    expect(await body('.macro SPIN\n.Lspin\\@: jmp .Lspin\\@\n.endm\nSPIN\nSPIN')).toBe('ebfeebfe');
  });

  test('numeric labels reach backward and forward', async () => {
    expect(await body('1: jmp 1f\njmp 1b\n1: ret')).toBe('eb02ebfcc3');
  });

  test('an alias is another name of an operand, in macros too, until it is given again', async () => {
    const text = `
      .alias it, r12
      .macro SAVE what
        push \\what
      .endm
      SAVE it
      mov it, rax
      .alias it, qword ptr [rbp - 8]
      mov it, rax
      mov rbx, [rax + item]`;
    expect(await body(`.set item, 16\n${text}`)).toBe('41544989c4488945f8488b5810');
  });

  test('constants, conditions and repetition', async () => {
    const text = `
      .set N, 3
      .rept N
        .if N == 3 && FLAG
          nop
        .else
          ret
        .endif
        N = N - 1
      .endr`;
    const image = await assemble(`SYM_FUNC_START(f)\n${text}\nSYM_FUNC_END(f)`, { defines: { FLAG: 1 } });
    expect([...section(image, '.text').bytes]).toEqual([0x90, 0xc3, 0xc3]);
  });

  test('operators bind as in GNU as', async () => {
    const image = await assemble('.data\n.byte 1 + 2 << 2, 6 & 3 + 1, (1 + 2) * 4, -1, ~0x0f & 0xff');
    expect([...section(image, '.data').bytes]).toEqual([9, 3, 12, 0xff, 0xf0]);
  });

  test('comments and separators do not reach into strings', async () => {
    const image = await assemble(
      `.data # one; two\n.ascii "#;//\\n", "'" // three\n.byte ';' /* four\n five */; .byte 1`,
    );
    expect(Buffer.from(section(image, '.data').bytes).toString('latin1')).toBe("#;//\n';\x01");
  });
});

describe('a snippet', () => {
  test('may call what its symbols name, from where it will stand', async () => {
    const bytes = await assembleSnippet('call target\nret', 0xffffffffc0201000n, new Map([['target', TEXT]]));
    expect(Buffer.from(bytes).toString('hex')).toBe('e8fbefdfc0c3');
  });
});
