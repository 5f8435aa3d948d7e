import { describe, expect, test } from 'vitest';
import { assembleImage } from '../../src/arch/x86_64/asm/assembler.ts';
import { AsmError } from '../../src/asm/assembler.ts';

async function errorOf(text: string): Promise<AsmError> {
  try {
    await assembleImage([{ path: 'asm/x.s', text }], {});
  } catch (error) {
    if (error instanceof AsmError) return error;
    throw error;
  }
  throw new Error('assembled');
}

const inFunction = (text: string): string => `SYM_FUNC_START(f)\n${text}\nSYM_FUNC_END(f)`;

describe('an error names file, line, column and text', () => {
  test.each([
    ['    call nowhere', "asm/x.s:2:10: undefined symbol 'nowhere': call nowhere"],
    ['  nop; movv rax, 1', 'asm/x.s:2:8: invalid mnemonic: nop; movv rax, 1'],
    ['  mov rax, f', "asm/x.s:2:12: 'f' is an address: write 'offset f' or '[rip+f]': mov rax, f"],
    ['  jmp .Lnot', "asm/x.s:2:7: undefined symbol '.Lnot': jmp .Lnot"],
    ['  jmp 1b', "asm/x.s:2:7: no label '1:' before this: jmp 1b"],
    ['  .bogus 1', "asm/x.s:2:3: unknown directive '.bogus': .bogus 1"],
    ['  mov rax, [rbx*3]', "asm/x.s:2:13: bad index 'rbx*3', the scale is 1, 2, 4 or 8: mov rax, [rbx*3]"],
    ['  .rept 2\n nop', 'asm/x.s:2:3: unterminated .rept: .rept 2'],
    ['  .if 1\n nop', 'asm/x.s:2:3: unterminated .if: .if 1'],
    ['  .macro m\n nop', 'asm/x.s:2:3: unterminated .macro: .macro m'],
    ['  .endif', 'asm/x.s:2:3: .endif without its beginning: .endif'],
    ['  .byte 256', 'asm/x.s:2:9: 256 does not fit .byte: .byte 256'],
    ['  .balign 3', 'asm/x.s:2:3: 3 is no alignment: .balign 3'],
    [
      '  UNWIND_HINT_REGS base=rax',
      "asm/x.s:2:25: UNWIND_HINT_REGS: bad base register 'rax': UNWIND_HINT_REGS base=rax",
    ],
    ['  ANNOTATE_NORETURN\n  nop', 'asm/x.s:3:3: ANNOTATE_NORETURN is for calls: nop'],
    ['  .error "not like this"', 'asm/x.s:2:3: not like this: .error "not like this"'],
    ['  /* open', 'asm/x.s:2:3: unterminated comment: /* open'],
  ])('%s', async (text, message) => {
    expect((await errorOf(inFunction(text))).message).toBe(message);
  });

  test('inside a macro, the line of the macro and the place of its use', async () => {
    const error = await errorOf(inFunction('  call 0x123456789abc'));
    expect(error.message).toMatch(/asm\/x\.s:2:3: branch target out of reach/);
  });

  test('sections that overlap are refused', async () => {
    const image = assembleImage([{ path: 'x.s', text: `${inFunction('.skip 0x2000')}\n.data\n.quad 1` }], {
      bases: { '.data': 0xffffffff81001000n },
    });
    await expect(image).rejects.toThrow('section .data at 0xffffffff81001000 overlaps .text');
  });
});
