// The mutator of asm/: what it proposes, and what it leaves out because nobody could tell.

import { describe, expect, it } from 'vitest';
import { asmKey, asmMutants } from '../../scripts/mutants/asm.ts';

const SOURCE = `# A function.
SYM_FUNC_START(f)
    FRAME_BEGIN
    push    rbx                         # saved
    mov     rbx, [rdi+task_struct_flags]
    mov     ecx, 1
    test    rbx, rbx
    je      .Lout
    mov     [rdi+8], rbx
    mov     [rdi+16], ecx
.Lout:
    pop     rbx
    RET
SYM_FUNC_END(f)

SYM_DATA_START(d)
    .quad   0
SYM_DATA_END(d)
`;

const mutants = asmMutants('asm/f.s', SOURCE);
const of = (what: string) =>
  mutants.filter((one) => one.what === what).map(({ before, after }) => `${before} -> ${after}`);

describe('the mutator of the guest', () => {
  it('drops each instruction, and no label, macro or data', () => {
    expect(of('drop').map((text) => text.split(' -> ')[0])).toEqual([
      'push rbx',
      'mov rbx, [rdi+task_struct_flags]',
      'mov ecx, 1',
      'test rbx, rbx',
      'je .Lout',
      'mov [rdi+8], rbx',
      'mov [rdi+16], ecx',
      'pop rbx',
    ]);
  });

  it('exchanges two that share a register, flags or memory that one of them writes, or of which one leaves', () => {
    expect(of('exchange')).toEqual([
      'push rbx; mov rbx, [rdi+task_struct_flags] -> mov rbx, [rdi+task_struct_flags]; push rbx',
      'test rbx, rbx; je .Lout -> je .Lout; test rbx, rbx',
      'je .Lout; mov [rdi+8], rbx -> mov [rdi+8], rbx; je .Lout',
      'mov [rdi+8], rbx; mov [rdi+16], ecx -> mov [rdi+16], ecx; mov [rdi+8], rbx',
    ]);
  });

  it('turns conditions round, and moves what is in memory by eight bytes', () => {
    expect(of('condition')).toEqual(['je .Lout -> jne .Lout']);
    expect(of('offset').map((text) => text.split(' -> ')[1])).toEqual([
      'mov rbx, [rdi+task_struct_flags+8]',
      'mov [rdi+8+8], rbx',
      'mov [rdi+16+8], ecx',
    ]);
  });

  it('gives the source with one thing changed, and a key without numbers of lines', () => {
    const [first] = mutants;
    expect(first.text).toBe(SOURCE.replace('    push    rbx                         # saved\n', ''));
    expect(asmKey(first)).toBe('asm/f.s: f: drop: push rbx -> ');
    expect(new Set(mutants.map(({ text }) => text)).size).toBe(mutants.length);
    expect(mutants.every(({ text }) => text !== SOURCE)).toBe(true);
  });
});
