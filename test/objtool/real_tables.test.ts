// The tables that Debian's objtool made are the measure: those in the fixture modules always,
// and objtool itself run over the guest kernel's image where linux-kbuild is installed.

import { readdirSync, readFileSync } from 'node:fs';
import { describe, expect, test } from 'vitest';
import { assembleImage } from '../../src/arch/x86_64/asm/assembler.ts';
import { X86_64 } from '../../src/arch/x86_64/x86_64.ts';
import { parseElf } from '../../src/elf/elf_object.ts';
import { type OrcTable, unpackOrcEntry } from '../../src/elf/orc.ts';
import { diffOrc } from '../../src/objtool/diff.ts';
import { inputFromElf } from '../../src/objtool/elf_input.ts';
import { readOrc } from '../../src/objtool/orc_format_of.ts';
import { createOrc, generateOrc } from '../../src/objtool/orc_gen.ts';
import type { OrcRows } from '../../src/objtool/orc_rows.ts';
import { hasObjtool, runObjtool } from './real_objtool.ts';

const MODULES = new URL('../../fixtures/modules/', import.meta.url);
/** Entries without those that change nothing. */
function boundaries(table: OrcTable): string[] {
  const out: string[] = [];
  let last = '';
  for (let i = 0; i < table.count; i++) {
    if (table.ip[i + 1] === table.ip[i]) continue;
    const state = JSON.stringify(unpackOrcEntry(table, i));
    if (state !== last) out.push(`${(table.ip[i] as number).toString(16)} ${state}`);
    last = state;
  }
  return out;
}

/** The source says of an ud2 of its own that execution goes on there; a module no longer does. */
const LOST = ['klpdemo_ud2'];

describe('modules that kbuild made', () => {
  test.each(readdirSync(MODULES).filter((f) => f.endsWith('.ko')))('%s has the table of objtool', (file) => {
    const elf = parseElf(readFileSync(new URL(file, MODULES)), file, X86_64.elf);
    const result = createOrc(inputFromElf(elf, X86_64.code));
    const theirs = readOrc(elf, X86_64.code.orc) as OrcRows;
    expect(theirs.count).toBeGreaterThan(0);
    const { differences } = diffOrc(result, theirs);
    for (const difference of differences) {
      expect(LOST).toContain(difference.place.replace(/\+.*/, ''));
      expect(difference.class).toBe('information no longer in the object');
    }
    const known = (warning: string): boolean => LOST.some((name) => warning.startsWith(name));
    expect(result.warnings.filter((warning) => !known(warning))).toEqual([]);
  });
});

const FUNC = (name: string, text: string): string =>
  `SYM_FUNC_START(${name})\n${text}\nSYM_FUNC_END(${name})\n`;
const CODE = (name: string, text: string): string =>
  `SYM_CODE_START(${name})\n${text}\nSYM_CODE_END(${name})\n`;

const SOURCE = [
  FUNC('__fentry__', 'ret'),
  FUNC('leaf', 'xor eax, eax\nret'),
  FUNC(
    'plain',
    'FENTRY\npush rbx\npush r12\nsub rsp, 32\ntest rdi, rdi\nje .L\ncall leaf\n.L: add rsp, 32\npop r12\npop rbx\nret',
  ),
  FUNC(
    'framed',
    'push rbp\nmov rbp, rsp\npush rbx\nsub rsp, 64\ncall leaf\nlea rsp, [rbp-8]\npop rbx\npop rbp\njmp leaf',
  ),
  FUNC(
    'moved',
    'push rbp\nmov rbp, rsp\nsub rsp, 64\nmov [rbp-8], rbx\ncall leaf\nmov rbx, [rbp-8]\nleave\nret',
  ),
  FUNC(
    'drap',
    `lea r10, [rsp+8]\nand rsp, -64\npush qword ptr [r10-8]\npush rbp\nmov rbp, rsp\npush r12\npush r10\npush rbx
     sub rsp, 256\ncall leaf\nadd rsp, 256\npop rbx\npop r10\npop r12\npop rbp\nlea rsp, [r10-8]\nret`,
  ),
  FUNC(
    'drap13',
    'push r13\nlea r13, [rsp+16]\nand rsp, -16\npush qword ptr [r13-8]\npush rbp\nmov rbp, rsp\npush r13\ncall leaf\npop r13\npop rbp\nlea rsp, [r13-16]\npop r13\nret',
  ),
  FUNC('dies', 'push rbx\ncall panic\nud2'),
  FUNC('panic', '.L: hlt\njmp .L'),
  FUNC('swizzle', 'push rbp\nmov rbp, rsp\nmov [rdi], rsp\nmov rsp, rdi\ncall leaf\npop rsp\npop rbp\nret'),
  FUNC('saved', 'UNWIND_HINT_SAVE\npush rax\nmov rsp, [rdi]\nUNWIND_HINT_RESTORE\nret'),
  FUNC('kept', 'push r12\nmov rax, rsp\nsub rsp, 64\nmov rsp, rax\npop r12\nret'),
  CODE('__x86_indirect_thunk_rax', 'UNWIND_HINT_EMPTY\nUNWIND_HINT_FUNC\njmp rax'),
  CODE('__x86_return_thunk', 'UNWIND_HINT_FUNC\nret\nint3'),
  FUNC(
    'thunks',
    'push rbx\ncall __x86_indirect_thunk_rax\npop rbx\ntest rax, rax\nje .L\njmp __x86_indirect_thunk_rax\n.L: jmp __x86_return_thunk',
  ),
  CODE(
    'entry',
    `UNWIND_HINT_ENTRY\nswapgs\nmov rsp, gs:[0x100]\npush 16\npush rax\npush r11\npush 51\npush rcx\npush rax
     UNWIND_HINT_IRET_REGS offset=8\npush rdi\npush rsi\nsub rsp, 104\nUNWIND_HINT_REGS\nmov rdi, rsp\ncall leaf
     add rsp, 120\nUNWIND_HINT_IRET_REGS\niretq`,
  ),
  CODE('idle', 'UNWIND_HINT_EMPTY\ncall leaf\njmp idle'),
].join('');

describe.skipIf(!hasObjtool)('objtool itself', () => {
  const image = (text: string) => assembleImage([{ path: 'x.s', text }], {});

  test('makes the same table of every kind of frame', async () => {
    const assembled = await image(SOURCE);
    const [ours, real] = [generateOrc(assembled, X86_64.code), runObjtool(assembled)];
    expect(ours.warnings).toEqual(real.warnings);
    expect(boundaries(ours.table)).toEqual(boundaries(real.table));
  });

  test.each([
    'push rbx\nret',
    'push rbx\njmp leaf',
    'mov rsp, rax\npush rbx\nret',
    'ret\nxor eax, eax',
    'and rsp, -16\nret',
    'iretq\nsysret',
    'std\nret',
    'cld\nret',
    'test rdi, rdi\nje .Lx\npush rbx\n.Lx: nop\npop rax\njmp .Lx',
    'UNWIND_HINT_RESTORE\nret',
    'push rbp\nmov rbp, rsp\nadd rbp, 8\nlea rbp, [rbp+8]\nleave\nret',
  ])('warns alike about %j', async (text) => {
    const assembled = await image(FUNC('leaf', 'ret') + FUNC('f', text));
    expect(generateOrc(assembled, X86_64.code).warnings).toEqual(runObjtool(assembled).warnings);
  });
});
