// That asm/ is in one dialect, and that writing a source in it changes nothing of what is assembled.

import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { formatAsm } from '../../scripts/asm-format/dialect.ts';
import { asmSources } from '../../scripts/asm-format.ts';
import { assembleImage } from '../../src/arch/x86_64/asm/assembler.ts';

const ROOT = join(import.meta.dirname, '../..');

describe('the sources of asm/', () => {
  it('are written in the dialect of asm/README.md', () => {
    const sources = asmSources();
    const others = sources.filter((file) => {
      const text = readFileSync(join(ROOT, file), 'utf8');
      return formatAsm(text) !== text;
    });
    expect(others).toEqual([]);
    expect(sources.length).toBeGreaterThan(40);
  });
});

describe('the dialect', () => {
  it.each([
    ['tabs', '\tmov rax, rbx', '    mov     rax, rbx'],
    ['commas', '    mov     rax,rbx', '    mov     rax, rbx'],
    ['a name that is long', '    cmpxchg16b   [rdi]', '    cmpxchg16b [rdi]'],
    ['spaces in an operand', '  lea rax, [rbx * 8 + table]', '    lea     rax, [rbx*8+table]'],
    ['hexadecimal digits', '    mov     eax, 0X1Af', '    mov     eax, 0x1af'],
    ['prefixes', '    rep    stosb', '    rep stosb'],
    ['prefixes with operands', '  lock cmpxchg [rdi], rdx', '    lock cmpxchg [rdi], rdx'],
    ['macros', '    TAIL_CALL   target', '    TAIL_CALL target'],
    ['a name with a parameter of a macro', '\tj\\cc .Lout', '    j\\cc    .Lout'],
    ['data', '\t.quad 1,2', '    .quad   1, 2'],
    ['constants', '.set   A,  8 << B', '.set A, 8 << B'],
    ['several statements', '    nop; ret', '    nop\n    ret'],
    ['a label before an instruction', '1:  test    eax, eax', '1:\n    test    eax, eax'],
    ['a comment', '\t//Why', '    # Why'],
    ['a comment behind a statement', '\tnop # why', `${'    nop'.padEnd(40)}# why`],
    ['strings', '    .asciz  "a,b; # [x + 1] 0xAB"', '    .asciz  "a,b; # [x + 1] 0xAB"'],
    ['blank lines', '\n\nnop\n\n\n\nret  \n\n', 'nop\n\nret'],
  ])('%s', (_, text, wanted) => {
    expect(formatAsm(text)).toBe(`${wanted}\n`);
    expect(formatAsm(formatAsm(text))).toBe(`${wanted}\n`);
  });

  it('leaves the bytes and symbols of a source as they are', async () => {
    const text = [
      '.macro STORE reg,place',
      '\tmov [\\place + 8],\\reg;nop',
      '.endm',
      'SYM_FUNC_START(f)',
      '1:\tnop',
      '\tSTORE rax,rdi //why',
      "\tmov al,';' ; jmp 1b",
      'SYM_FUNC_END(f)',
      '.data',
      'SYM_DATA_START(d)',
      '\t.asciz "a;  b, # c"',
      'SYM_DATA_END(d)',
    ].join('\n');
    const assembled = async (source: string) => assembleImage([{ path: 'asm/x.s', text: source }], {});
    expect(formatAsm(text)).not.toBe(text);
    expect(await assembled(formatAsm(text))).toEqual(await assembled(text));
  });
});
