// Code of a kernel that is not called: entered as the first row of its table says, and judged by what is true then.

import { describe, expect, it } from 'vitest';
import { X86_64 } from '../../src/arch/x86_64/x86_64.ts';
import { ObjectChecker } from '../../src/check/check_object.ts';
import type { FunctionReport, ObjectCheck } from '../../src/check/verdicts.ts';
import { parseKernelObject } from '../../src/objtool/vmlinux.ts';
import { entryKernel } from '../vmlinuz/entry_kernel.ts';
import { checkGuest } from './guest.ts';

const guest = checkGuest();
const check = (bytes: Uint8Array): ObjectCheck =>
  new ObjectChecker(guest, parseKernelObject(bytes, 'vmlinux', X86_64), {
    unwinder: 'orc',
    format: '6.1',
  }).check();
const of = ({ functions }: ObjectCheck, name: string): FunctionReport =>
  functions.find((one) => one.name === name) as FunctionReport;

/** `push %rax; push %rbx; iretq`: an error code and two registers over an interrupt's frame. */
const PUSHES = [0x50, 0x53, 0x48, 0xcf];
const CALL_ROW = { sp: 8, reg: 5, type: 0 };

describe('code of a kernel that is entered', () => {
  it("with an interrupt's frame is right where its rows find that", () => {
    const rows = [8, 16, 24].map((sp, at) => ({ at, sp, reg: 5, type: 2 }));
    const found = check(entryKernel([{ name: 'asm_exc_test', code: PUSHES, rows }]));
    expect(of(found, 'asm_exc_test')).toMatchObject({ instructions: 3, reached: 3, right: 3 });
  });

  it('with an error code of which a row knows nothing is wrong there', () => {
    const rows = [8, 16, 16].map((sp, at) => ({ at, sp, reg: 5, type: 2 }));
    const found = check(entryKernel([{ name: 'asm_exc_test', code: PUSHES, rows }]));
    expect(of(found, 'asm_exc_test').right).toBe(2);
    expect(found.places.map(({ place, stand }) => [place, stand])).toEqual([
      ['asm_exc_test+0x2', 'interrupted'],
    ]);
  });

  it('with all registers is right where its rows find them', () => {
    const rows = [0, 8, 16].map((sp, at) => ({ at, sp, reg: 5, type: 1 }));
    const found = check(entryKernel([{ name: 'error_test', code: PUSHES, rows }]));
    expect(of(found, 'error_test')).toMatchObject({ reached: 3, right: 3 });
  });

  it('first on its stack has no caller, and a row that finds one is wrong', () => {
    const end = { sp: 0, reg: 0, type: 0, end: true };
    const code = [0x50, 0x58, 0x48, 0xcf];
    expect(of(check(entryKernel([{ name: 'entry', code, rows: [{ at: 0, ...end }] }])), 'entry').right).toBe(
      3,
    );
    const rows = [
      { at: 0, ...end },
      { at: 1, sp: 16, reg: 5, type: 0 },
      { at: 2, ...end },
    ];
    const found = check(entryKernel([{ name: 'entry', code, rows }]));
    expect(of(found, 'entry').right).toBe(2);
    expect(found.places[0].truth.hasNoCaller).toBe(true);
  });

  it('by a call of others has a caller, though its first row says that there is none', () => {
    const thunk = { name: 'thunk', code: [0x90, 0xc3], rows: [{ at: 0, sp: 0, reg: 0, type: 0, end: true }] };
    // call thunk, which is 16 bytes on; ret
    const caller = { name: 'caller', code: [0xe8, 11, 0, 0, 0, 0xc3], rows: [{ at: 0, ...CALL_ROW }] };
    const found = check(entryKernel([caller, thunk]));
    expect(of(found, 'caller')).toMatchObject({ right: 2 });
    expect(of(found, 'thunk')).toMatchObject({ right: 0, wrong: 2 });
  });

  it('and returns was called, though its first row says that it has registers', () => {
    const rows = [{ at: 0, sp: 0, reg: 5, type: 1 }];
    const found = check(entryKernel([{ name: 'function', code: [0x90, 0xc3], rows }]));
    expect(of(found, 'function').right).toBe(0);
  });

  it('and returns by the thunk of returns was called, too', () => {
    const rows = [{ at: 0, sp: 0, reg: 5, type: 1 }];
    const thunk = { name: '__x86_return_thunk', code: [0xc3], rows: [{ at: 0, ...CALL_ROW }] };
    // nop; jmp __x86_return_thunk
    const code = [0x90, 0xe9, 10, 0, 0, 0];
    const found = check(entryKernel([{ name: 'function', code, rows }, thunk]));
    expect(of(found, 'function').right).toBe(0);
  });

  it('and has dropped its return address is returned to whoever called its caller', () => {
    // lea 8(%rsp),%rsp; ret: as where a call was made for what the processor makes of it.
    const code = [0x48, 0x8d, 0x64, 0x24, 0x08, 0xc3];
    const judged = (sp: number): ObjectCheck =>
      check(
        entryKernel([
          {
            name: 'drops',
            code,
            rows: [
              { at: 0, ...CALL_ROW },
              { ...CALL_ROW, at: 5, sp },
            ],
          },
        ]),
      );
    expect(of(judged(8), 'drops')).toMatchObject({ reached: 2, right: 2 });
    const found = judged(0);
    expect(of(found, 'drops').right).toBe(1);
    expect(found.places).toMatchObject([{ place: 'drops+0x5', truth: { prevSp: 8, returnAddress: 0 } }]);
  });

  it("and keeps the caller's stack pointer has dropped nothing, where its own stands above it", () => {
    // lea 8(%rsp),%r10; sub $-8,%rsp; nop; lea -8(%r10),%rsp; ret
    const code = [0x4c, 0x8d, 0x54, 0x24, 0x08, 0x48, 0x83, 0xec, 0xf8, 0x90, 0x49, 0x8d, 0x62, 0xf8, 0xc3];
    const rows = [
      { at: 0, ...CALL_ROW },
      { at: 5, sp: 0, reg: 6, type: 0 },
      { at: 14, ...CALL_ROW },
    ];
    const found = check(entryKernel([{ name: 'realigns', code, rows }]));
    expect(of(found, 'realigns')).toMatchObject({ reached: 5, right: 3, unreliable: 2, wrong: 0 });
    expect(found.places[0]).toMatchObject({
      place: 'realigns+0x9',
      truth: { prevSp: 0 },
    });
  });

  it('and has its return address in a register is returned to by that', () => {
    // pop %rcx; jmp *%rcx; and: mov (%rsp),%rcx; lea 8(%rsp),%rsp; jmp *%rcx
    const popped = [0x59, 0xff, 0xe1];
    const moved = [0x48, 0x8b, 0x0c, 0x24, 0x48, 0x8d, 0x64, 0x24, 0x08, 0xff, 0xe1];
    const rows = [{ at: 0, ...CALL_ROW }];
    const found = check(
      entryKernel([
        { name: 'popped', code: popped, rows },
        { name: 'moved', code: moved, rows },
      ]),
    );
    expect(of(found, 'popped')).toMatchObject({ reached: 2, right: 1 });
    expect(of(found, 'moved')).toMatchObject({ reached: 3, right: 2 });
  });

  it('that puts where it goes in place of its return address is wrong there, and declared reliable', () => {
    // call over an int3; mov %rax,(%rsp); ret: a retpoline.
    const code = [0xe8, 1, 0, 0, 0, 0xcc, 0x48, 0x89, 0x04, 0x24, 0xc3];
    const found = check(entryKernel([{ name: 'retpoline', code, rows: [{ at: 0, ...CALL_ROW }] }]));
    expect(found.places.filter(({ verdict }) => verdict === 'wrong, declared reliable')).toMatchObject([
      { place: 'retpoline+0x6' },
      { place: 'retpoline+0xa' },
    ]);
  });
});
