// Tables for the code of a linked kernel, whose source is gone: what of it the code, names and its own table still tell.

import { describe, expect, it } from 'vitest';
import { X86_64 } from '../../src/arch/x86_64/x86_64.ts';
import { type Agreement, diffOrc } from '../../src/objtool/diff.ts';
import { inputFromElf } from '../../src/objtool/elf_input.ts';
import { withEntryCode } from '../../src/objtool/entry_code.ts';
import { readOrcAs } from '../../src/objtool/orc_format.ts';
import { createOrc } from '../../src/objtool/orc_gen.ts';
import type { OrcRows } from '../../src/objtool/orc_rows.ts';
import { parseKernelObject } from '../../src/objtool/vmlinux.ts';
import { type EntryFunction, entryKernel, TEXT } from '../vmlinuz/entry_kernel.ts';
import type { Section } from '../vmlinuz/linked_elf.ts';

const CALL = { sp: 8, reg: 5, type: 0 };
const UNDEFINED = { sp: 0, reg: 0, type: 0 };
const END = { ...UNDEFINED, end: true };
const [INDIRECT_SP, REGISTERS, FRAME] = [9, 1, 2];
const NOWHERE = 'sp:(und) bp:(und) type:call end:0';

/** A kernel of these functions, of which nothing is said behind their ends. */
function kernelOf(functions: readonly EntryFunction[], sections: readonly Section[] = []): Uint8Array {
  const ended = functions.map((one) => ({
    ...one,
    rows: [...one.rows, { at: one.code.length, ...UNDEFINED }],
  }));
  return entryKernel(ended, [], { sections });
}

function compared(kernel: Uint8Array): Agreement {
  const elf = parseKernelObject(kernel, 'vmlinux', X86_64);
  const theirs = readOrcAs(elf, X86_64.code.orc, '6.1') as OrcRows;
  const result = createOrc(withEntryCode(inputFromElf(elf, X86_64.code, '6.1'), theirs));
  return diffOrc(result, theirs);
}

const differences = (kernel: Uint8Array): string[][] =>
  compared(kernel).differences.map(({ place, class: kind, reason }) => [place, kind, reason]);

const LOST = 'information no longer in the object';

describe('entry code of a linked kernel', () => {
  it("begins as the kernel's own table says, and goes on as it does", () => {
    // push %rax; push %rbx; iretq
    const rows = [8, 16, 24].map((sp, at) => ({ at, sp, reg: 5, type: FRAME }));
    expect(
      compared(kernelOf([{ name: 'asm_exc_test', code: [0x50, 0x53, 0x48, 0xcf], rows }])),
    ).toMatchObject({
      functions: { total: 2, same: 2 },
      differences: [],
    });
  });

  it('is first on its stack where the table says so, and a jump of it to another is followed', () => {
    // jmp second; second: push %rax; hlt; jmp to itself
    const first = { name: 'first', code: [0xeb, 14], rows: [{ at: 0, ...END }] };
    const second = { name: 'second', code: [0x50, 0xf4, 0xeb, 0xfd], rows: [{ at: 0, ...END }] };
    expect(differences(kernelOf([first, second]))).toEqual([]);
  });

  it.each([
    ['erets', 0xf2],
    ['eretu', 0xf3],
  ])('ends at %s, which are the bytes of clac with a prefix', (_, prefix) => {
    const code = [prefix, 0x0f, 0x01, 0xca];
    expect(differences(kernelOf([{ name: 'exits', code, rows: [{ at: 0, ...END }] }]))).toEqual([]);
  });

  it('differs behind what only a hint could say, and neither table is blamed', () => {
    const rows = [
      { at: 0, sp: 8, reg: 5, type: FRAME },
      { at: 1, sp: 16, reg: 5, type: FRAME },
      { at: 2, sp: 0, reg: 5, type: REGISTERS },
    ];
    // push %rax; nop; iretq
    const kernel = kernelOf([{ name: 'asm_exc_test', code: [0x50, 0x90, 0x48, 0xcf], rows }]);
    expect(differences(kernel)).toEqual([
      ['asm_exc_test+0x2', LOST, 'entry code: the source says with hints how the stack is there'],
    ]);
  });
});

describe('what the source of a linked kernel said', () => {
  it('of a call on another stack: execution goes on behind it, though what is called never returns', () => {
    // mov %rsp,(%r11); mov %r11,%rsp; call stops; pop %rsp; ret
    const code = [0x49, 0x89, 0x23, 0x4c, 0x89, 0xdc, 0xe8, 5, 0, 0, 0, 0x5c, 0xc3];
    const rows = [
      { at: 0, ...CALL },
      { at: 6, sp: 8, reg: INDIRECT_SP, type: 0 },
      { at: 12, ...CALL },
    ];
    const stops = { name: 'stops', code: [0xeb, 0xfe], rows: [{ at: 0, ...CALL }] };
    expect(differences(kernelOf([{ name: 'switches', code, rows }, stops]))).toEqual([]);
    // Without going back to its own stack it is the last thing that happens.
    const last = { name: 'calls', code: [0xe8, 11, 0, 0, 0, 0xc3], rows: [{ at: 0, ...CALL }] };
    expect(differences(kernelOf([last, stops]))).toEqual([
      ['calls+0x5', 'ours wrong', 'behind a call that we take for the last thing that happens'],
    ]);
  });

  it('of a call of the hypervisor: it comes back with the stack as it was', () => {
    // push %rcx; syscall; pop %rcx; ret
    const rows = [
      { at: 0, ...CALL },
      { at: 1, ...CALL, sp: 16 },
      { at: 4, ...CALL },
    ];
    expect(
      differences(kernelOf([{ name: 'hypercall', code: [0x51, 0x0f, 0x05, 0x59, 0xc3], rows }])),
    ).toEqual([]);
  });

  it.each([
    ['xen', [0x78, 0x65, 0x6e]],
    ['kvm', [0x6b, 0x76, 0x6d]],
  ])('of ud2 and the name %s: a prefix by which a hypervisor is asked to execute cpuid', (_, name) => {
    const code = [0x0f, 0x0b, ...name, 0x0f, 0xa2, 0xc3];
    expect(differences(kernelOf([{ name: 'asks', code, rows: [{ at: 0, ...CALL }] }]))).toEqual([]);
  });

  it('of the trap of WARN() in 7.x: it comes back', () => {
    // ud1 (%edx),%rdi; ret
    const code = [0x67, 0x48, 0x0f, 0xb9, 0x3a, 0xc3];
    const rows = [{ at: 0, ...CALL }];
    expect(differences(kernelOf([{ name: '__WARN_trap', code, rows }]))).toEqual([]);
    expect(differences(kernelOf([{ name: 'other_trap', code, rows }]))).toEqual([
      ['other_trap+0x5', LOST, expect.stringContaining('behind an ud2 that is in no __bug_table')],
    ]);
  });

  it('of a function that another one overrides: it had a name', () => {
    // ret, filling, and: push %rax; pop %rax; ret
    const code = [0xc3, 0xcc, 0xcc, 0xcc, 0xcc, 0xcc, 0xcc, 0xcc, 0x50, 0x58, 0xc3];
    const rows = [
      { at: 0, ...CALL },
      { at: 1, ...UNDEFINED },
      { at: 8, ...CALL },
      { at: 9, ...CALL, sp: 16 },
      { at: 10, ...CALL },
    ];
    const reason = 'it has lost its symbol, as weak ones do that another overrides';
    expect(differences(kernelOf([{ name: 'leaf', code, rows }]))).toEqual([
      ['leaf+0x8', LOST, reason],
      ['leaf+0x9', LOST, reason],
      ['leaf+0xa', LOST, reason],
    ]);
  });
});

describe('code of a linked kernel that only lets it touch memory of a user', () => {
  it('is followed as it is once the processor has it: smap_save() pushes flags and pops them', () => {
    const [replacements, table] = [0xffffffff81140000n, 0xffffffff81150000n];
    // five no-ops; ret
    const code = [0x90, 0x90, 0x90, 0x90, 0x90, 0xc3];
    const rows = [
      { at: 0, ...CALL },
      { at: 1, ...CALL, sp: 16 },
      { at: 2, ...CALL },
    ];
    // pushf; pop %rax; clac
    const bytes = Uint8Array.of(0x9c, 0x58, 0x0f, 0x01, 0xca);
    const row = Buffer.alloc(12);
    row.writeInt32LE(Number(TEXT - table), 0);
    row.writeInt32LE(Number(replacements - table) - 4, 4);
    row.writeUInt16LE(X86_64.code.userAccessFeature, 8);
    row.set([code.length - 1, bytes.length], 10);
    const kernel = kernelOf(
      [{ name: 'saves', code, rows }],
      [
        { name: '.altinstr_replacement', address: replacements, flags: 6, bytes },
        { name: '.altinstructions', address: table, flags: 2, bytes: row },
      ],
    );
    expect(differences(kernel)).toEqual([]);
  });
});

describe('thunks in the text of a linked kernel', () => {
  const THUNK = { name: '__x86_indirect_thunk_rax', code: [0xff, 0xe0], rows: [{ at: 0, ...CALL }] };

  it('are jumps through a table where one is loaded before', () => {
    const table = 0xffffffff81140000n;
    // mov table(,%rax,8),%rax; jmp __x86_indirect_thunk_rax; ret: to which the table leads
    const code = [0x48, 0x8b, 0x04, 0xc5, 0, 0, 0x14, 0x81, 0xe9, 3, 0, 0, 0, 0xc3];
    const bytes = new Uint8Array(16);
    new DataView(bytes.buffer).setBigUint64(0, TEXT + 13n, true);
    const kernel = kernelOf(
      [{ name: 'switches', code, rows: [{ at: 0, ...CALL }] }, THUNK],
      [{ name: '.rodata.tables', address: table, flags: 2, bytes }],
    );
    expect(differences(kernel)).toEqual([]);
  });
});

describe('a way of a linked function that cannot be followed', () => {
  it('leaves the others as they are: where its hint is gone nobody knows', () => {
    // je over the rest; push %rax; ret: with a changed stack, where a hint was; ret
    const code = [0x74, 2, 0x50, 0xc3, 0xc3];
    const rows = [
      { at: 0, ...CALL },
      { at: 3, ...CALL, sp: 16 },
      { at: 4, ...CALL },
    ];
    const found = compared(kernelOf([{ name: 'two_ways', code, rows }]));
    expect(found.differences.filter(({ ours }) => ours === NOWHERE)).toEqual([]);
  });
});
