import { describe, expect, test } from 'vitest';
import { assembleImage } from '../../src/arch/x86_64/asm/assembler.ts';
import { X86_64 } from '../../src/arch/x86_64/x86_64.ts';
import type { AsmImage } from '../../src/asm/assembler.ts';
import { type OrcTable, unpackOrcEntry } from '../../src/elf/orc.ts';
import { disassemble } from '../../src/isa/disassembler.ts';
import { type ImageFlavour, loadKernelImage } from '../../src/machine/boot/image.ts';
import { generateOrc } from '../../src/objtool/orc_gen.ts';

const BASE = 0x81000000;

const assemble = (text: string): Promise<AsmImage> => assembleImage([{ path: 'x.s', text }], {});

/** The entry that the unwinder would use at an ip. */
function entryAt(table: OrcTable, ip: number): string {
  let found = 'none';
  for (let i = 0; i < table.count && (table.ip[i] as number) <= ip; i++) {
    found = X86_64.code.orc.text(unpackOrcEntry(table, i));
  }
  return found.replace(' type:call', '').replace(' end:0', '');
}

/** Every instruction of the first function with the entry before it. */
async function listing(text: string): Promise<string[]> {
  const image = await assemble(text);
  const { table, warnings } = generateOrc(image, X86_64.code);
  expect(warnings).toEqual([]);
  const section = image.sections[0] as AsmImage['sections'][0];
  const size = image.symbols.find((s) => s.addr === section.addr)?.size ?? 0;
  const insns = await disassemble(section.bytes.subarray(0, size), section.addr, { symbolize: () => 'sym' });
  return insns.map((i) => `${i.text} | ${entryAt(table, Number(i.addr & 0xffffffffn))}`);
}

const LEAF = 'SYM_FUNC_START(leaf)\nret\nSYM_FUNC_END(leaf)\n';
const func = (text: string): string => `SYM_FUNC_START(f)\n${text}\nSYM_FUNC_END(f)\n${LEAF}`;

describe('the stack of a function, instruction by instruction', () => {
  test('pushes, a local area, and both ways of a branch', async () => {
    expect(
      await listing(
        func(
          'push rbp\npush rbx\nsub rsp, 0x20\ntest rdi, rdi\nje .Lout\ncall leaf\n.Lout: add rsp, 0x20\npop rbx\npop rbp\nret',
        ),
      ),
    ).toEqual([
      'push %rbp | sp:sp+8 bp:(und)',
      'push %rbx | sp:sp+16 bp:prevsp-16',
      'sub $0x20,%rsp | sp:sp+24 bp:prevsp-16',
      'test %rdi,%rdi | sp:sp+56 bp:prevsp-16',
      'je sym | sp:sp+56 bp:prevsp-16',
      'call sym | sp:sp+56 bp:prevsp-16',
      'add $0x20,%rsp | sp:sp+56 bp:prevsp-16',
      'pop %rbx | sp:sp+24 bp:prevsp-16',
      'pop %rbp | sp:sp+16 bp:prevsp-16',
      'ret | sp:sp+8 bp:(und)',
    ]);
  });

  test('a frame pointer, left by leave', async () => {
    expect(await listing(func('push rbp\nmov rbp, rsp\nsub rsp, 0x40\ncall leaf\nleave\nret'))).toEqual([
      'push %rbp | sp:sp+8 bp:(und)',
      'mov %rsp,%rbp | sp:sp+16 bp:prevsp-16',
      'sub $0x40,%rsp | sp:bp+16 bp:prevsp-16',
      'call sym | sp:bp+16 bp:prevsp-16',
      'leave | sp:bp+16 bp:prevsp-16',
      'ret | sp:sp+8 bp:(und)',
    ]);
  });

  test('a realigned frame (DRAP) as GCC makes it', async () => {
    const text = `lea r10, [rsp+8]
      and rsp, -64
      push qword ptr [r10-8]
      push rbp
      mov rbp, rsp
      push r10
      sub rsp, 0x38
      call leaf
      mov r10, [rbp-8]
      leave
      lea rsp, [r10-8]
      ret`;
    expect((await listing(func(text))).map((line) => line.split(' | ')[1])).toEqual([
      'sp:sp+8 bp:(und)',
      'sp:sp+8 bp:(und)',
      'sp:r10+0 bp:(und)',
      'sp:r10+0 bp:(und)',
      'sp:r10+0 bp:(und)',
      'sp:r10+0 bp:bp+0',
      'sp:(bp-8) bp:bp+0',
      'sp:(bp-8) bp:bp+0',
      'sp:(bp-8) bp:bp+0',
      'sp:r10+0 bp:bp+0',
      'sp:r10+0 bp:(und)',
      'sp:sp+8 bp:(und)',
    ]);
  });

  test('another stack, left by pop rsp', async () => {
    const text = 'push rbp\nmov rbp, rsp\nmov [rdi], rsp\nmov rsp, rdi\ncall leaf\npop rsp\npop rbp\nret';
    expect((await listing(func(text))).map((line) => line.split(' | ')[1])).toEqual([
      'sp:sp+8 bp:(und)',
      'sp:sp+16 bp:prevsp-16',
      ...Array(5).fill('sp:bp+16 bp:prevsp-16'),
      'sp:sp+8 bp:(und)',
    ]);
  });

  test('a call within the function leaves a return address behind', async () => {
    const text =
      'SYM_FUNC_START(f)\ncall .Ldo\n.Ltrap: pause\njmp .Ltrap\n.Ldo: mov [rsp], rax\nUNWIND_HINT_FUNC\nret\nSYM_FUNC_END(f)';
    const { table } = generateOrc(await assemble(text), X86_64.code);
    expect([0, 9, 13].map((at) => entryAt(table, BASE + at))).toEqual([
      'sp:sp+8 bp:(und)',
      'sp:sp+16 bp:(und)',
      'sp:sp+8 bp:(und)',
    ]);
  });
});

describe('where a path ends', () => {
  test('after a call of a function that never returns, by its name or its code', async () => {
    const text = `SYM_FUNC_START(f)\npush rbx\ntest rdi, rdi\nje .Ld\nANNOTATE_NORETURN\ncall leaf\n.Ld: call die\nSYM_FUNC_END(f)
      SYM_FUNC_START(die)\n.Lx: hlt\njmp .Lx\nSYM_FUNC_END(die)\n${LEAF}`;
    const { table, warnings } = generateOrc(await assemble(text), X86_64.code);
    expect(warnings).toEqual([]);
    expect(entryAt(table, BASE + 14)).toBe('sp:sp+16 bp:(und)');
    expect(entryAt(table, BASE + 16)).toBe('sp:sp+8 bp:(und)');
  });

  test('at a tail call, a return thunk, and an indirect jump', async () => {
    const text = `SYM_FUNC_START(f)\ntest rdi, rdi\nje leaf\njs .Lr\njmp rax\n.Lr: jmp __x86_return_thunk\nSYM_FUNC_END(f)
      ${LEAF}SYM_CODE_START(__x86_return_thunk)\nUNWIND_HINT_FUNC\nret\nSYM_CODE_END(__x86_return_thunk)`;
    expect(generateOrc(await assemble(text), X86_64.code).warnings).toEqual([]);
  });

  test('space between functions has no stack', async () => {
    const { table } = generateOrc(await assemble(func('ret')), X86_64.code);
    expect(entryAt(table, BASE + 1)).toBe('sp:(und) bp:(und)');
    expect(entryAt(table, BASE + 17)).toBe('sp:(und) bp:(und)');
  });
});

describe('hints', () => {
  test('describe entry code, and are followed through pushes and pops', async () => {
    const text = `SYM_CODE_START(entry)
      UNWIND_HINT_ENTRY
      mov rsp, gs:[0]
      push rax
      UNWIND_HINT_IRET_REGS offset=8
      push rdi
      UNWIND_HINT_REGS base=rdi offset=16
      mov rsp, rdi
      add rsp, 8
      UNWIND_HINT_UNDEFINED
      iretq
      SYM_CODE_END(entry)`;
    const image = await assemble(text);
    const { table, warnings } = generateOrc(image, X86_64.code);
    expect(warnings).toEqual([]);
    const insns = await disassemble(
      image.sections[0]?.bytes as Uint8Array,
      image.sections[0]?.addr as bigint,
    );
    expect(insns.map((i) => entryAt(table, Number(i.addr & 0xffffffffn)))).toEqual([
      'sp:(und) bp:(und) end:1',
      'sp:(und) bp:(und) end:1',
      'sp:sp+8 bp:(und) type:regs (partial)',
      'sp:di+16 bp:(und) type:regs',
      'sp:di+16 bp:(und) type:regs',
      'sp:(und) bp:(und)',
    ]);
  });

  test('save and restore bring back the state of an earlier instruction', async () => {
    const text = 'UNWIND_HINT_SAVE\npush rax\nmov rsp, [rdi]\nUNWIND_HINT_RESTORE\nret';
    expect((await listing(func(text))).at(-1)).toBe('ret | sp:sp+8 bp:(und)');
  });
});

describe('warnings, in the words of objtool', () => {
  test.each([
    ['push rbx\nret', 'f+0x1: return with modified stack frame'],
    ['push rbx\njmp leaf', 'f+0x1: sibling call from callable instruction with modified stack frame'],
    ['test rdi, rdi\nje .L\npush rbx\n.L: ret', 'f+0x6: stack state mismatch: cfa1=4+8 cfa2=4+16'],
    [
      'test rdi, rdi\nje .Lx\npush rbx\n.Lx: nop\npop rax\njmp .Lx',
      'f+0x6: stack state mismatch: cfa1=4+8 cfa2=4+0',
    ],
    ['mov rsp, rax\npush rbx\nret', 'f+0x3: undefined stack state'],
    ['ret\nxor eax, eax', 'f+0x1: unreachable instruction'],
    ['and rsp, -16\nret', 'f+0x0: unsupported stack pointer realignment'],
    ['iretq\nsysret', 'f+0x2: unsupported instruction in callable function'],
    ['nop', 'f() falls through to next function leaf()'],
    ['std\nret', 'f+0x1: return with DF set'],
    ['cld\nret', 'f+0x0: redundant CLD'],
    ['UNWIND_HINT_RESTORE\nret', 'f+0x0: no corresponding CFI save for CFI restore'],
  ])('%s', async (text, warning) => {
    // Next to it without padding, so that falling through is seen.
    const source = `SYM_FUNC_START(f)\n${text}\n.balign 16, 0x90\nSYM_FUNC_END(f)\n${LEAF}`;
    expect(generateOrc(await assemble(source), X86_64.code).warnings[0]).toBe(warning);
  });
});

describe("the guest's own kernel", () => {
  /** Entry code that C's rules are not for: what is said of it is known. */
  const OF_ENTRY = /^exc_\w+\+0x\w+: unsupported call to non-function$/;
  /** Nothing unwinds by ORC where frame pointers are kept. */
  const OF_TRAMPOLINES = /^ftrace_(regs_)?caller\+0x\w+: return with modified stack frame$/;

  test.each<[ImageFlavour, RegExp[]]>([
    ['orc', [OF_ENTRY]],
    ['frame pointer', [OF_ENTRY, OF_TRAMPOLINES]],
  ])('with %s is sound but for what is known of its entry code', async (flavour, known) => {
    const { warnings } = generateOrc((await loadKernelImage(flavour)).asm, X86_64.code);
    expect(warnings.filter((line) => !known.some((pattern) => pattern.test(line)))).toEqual([]);
  });
});
