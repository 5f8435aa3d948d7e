// Instructions that would end the process: each is replaced before the engine can meet it.

import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, describe, expect, it } from 'vitest';
import { X86_64 } from '../../src/arch/x86_64/x86_64.ts';
import type { CheckGuest } from '../../src/check/check_guest.ts';
import { ObjectChecker } from '../../src/check/check_object.ts';
import { parseElf } from '../../src/elf/elf_object.ts';
import { decodeAt, Insn } from '../../src/isa/decoder.ts';
import { isRefused, overwriteEarlyRex } from '../../src/isa/refused.ts';
import { unicornGuest } from './unicorn_guest.ts';

const MODULE = join(import.meta.dirname, '../../fixtures/modules/klpdemo_target.ko');
const bytes = Uint8Array.from(readFileSync(MODULE));
const refused = (...code: number[]): boolean => isRefused(decodeAt(Uint8Array.from(code), 0, 0));

const unicorn = unicornGuest();

describe.skipIf(!unicorn)('what Unicorn does not survive', () => {
  const guest = unicorn as CheckGuest;
  afterAll(() => guest?.close());

  it.each([
    ['ljmp through a register', [0xff, 0xe9]],
    ['lcall through a register', [0xff, 0xd8]],
    ['lock cmp', [0xf0, 0x39, 0x07]],
    ['lock cmp behind other prefixes', [0xf0, 0x48, 0x39, 0x07]],
    ['lock cmp with an immediate', [0xf0, 0x83, 0x38, 0x00]],
    ['lock bt', [0xf0, 0x0f, 0xa3, 0x07]],
    ['lock bts of a register', [0xf0, 0x0f, 0xab, 0xc0]],
    ['lock cmps', [0xf0, 0xa6]],
  ])('%s is an illegal instruction, and the check goes on', (_, code) => {
    expect(refused(...code)).toBe(true);
    const elf = parseElf(bytes, MODULE, X86_64.elf);
    const text = elf.section('.text');
    const copy = bytes.slice();
    // Behind the call at a function's entry.
    copy.set(code, (text?.offset ?? 0) + 5);
    const found = new ObjectChecker(guest, parseElf(copy, MODULE, X86_64.elf), { unwinder: 'orc' }).check();
    expect(found.reached).toBeGreaterThan(100);
  });

  it('cannot be made by a relocation: what lies over an opcode is not applied', () => {
    const elf = parseElf(bytes, MODULE, X86_64.elf);
    const text = elf.section('.text');
    const rela = elf.section('.rela.text');
    const copy = bytes.slice();
    const view = new DataView(copy.buffer);
    // Of the call at the entry: three bytes further on, and behind it the end of what may become a far jump.
    view.setBigUint64(rela?.offset ?? 0, 4n, true);
    copy.set([0xb8, 0, 0, 0, 0xff, 0xe9], (text?.offset ?? 0) + 5);
    const found = new ObjectChecker(guest, parseElf(copy, MODULE, X86_64.elf), { unwinder: 'orc' }).check();
    expect(found.reached).toBeGreaterThan(100);
  });

  it('is not met in the midst of others: a REX prefix that does not count is not there for the engine either', () => {
    // sub ax, 0 and mov eax, 0xe9ff00; with the REX.W before 66 it would be sub rax, 0xb80000, and a far jump.
    const code = [0x48, 0x66, 0x2d, 0, 0, 0xb8, 0, 0xff, 0xe9, 0];
    const copy = bytes.slice();
    copy.set(code, (parseElf(bytes, MODULE, X86_64.elf).section('.text')?.offset ?? 0) + 5);
    const found = new ObjectChecker(guest, parseElf(copy, MODULE, X86_64.elf), { unwinder: 'orc' }).check();
    expect(found.reached).toBeGreaterThan(100);
  });

  it.each([
    ['48662d0000', '66662d0000'],
    ['4866f30fb8c0', '6666f30fb8c0'],
    ['6448668b00', '6466668b00'],
    ['41488b00', '48488b00'],
    ['66488b00', '66488b00'],
    ['488b00', '488b00'],
  ])('of prefixes the last REX counts: %s is %s', (code, straight) => {
    const made = Uint8Array.from(Buffer.from(code, 'hex'));
    overwriteEarlyRex(made, 0);
    expect(Buffer.from(made).toString('hex')).toBe(straight);
    const [is, was] = [straight, code].map((hex) => ({
      ...decodeAt(Buffer.from(hex, 'hex'), 0, 0, new Insn()),
    }));
    expect(is).toEqual(was);
  });

  it.each([
    ['movmskps of memory', [0x0f, 0x50, 0x43, 0xff, 0xe9, 0, 0, 0, 0]],
    ['psrlw of memory', [0x0f, 0x71, 0x53, 0, 0xff, 0xe9, 0, 0, 0, 0]],
    ['movdq2q of memory', [0xf2, 0x0f, 0xd6, 0x43, 0xff, 0xe9, 0, 0, 0, 0]],
    ['extrq', [0x66, 0x0f, 0x78, 0xc0, 0xb8, 0, 0xff, 0xe9, 0]],
  ])('is %s, whose end the engine finds elsewhere', (_, code) => {
    expect(refused(...code)).toBe(true);
    const copy = bytes.slice();
    copy.set(code, (parseElf(bytes, MODULE, X86_64.elf).section('.text')?.offset ?? 0) + 5);
    const found = new ObjectChecker(guest, parseElf(copy, MODULE, X86_64.elf), { unwinder: 'orc' }).check();
    expect(found.reached).toBeGreaterThan(100);
  });

  it('is not met behind a vector instruction, whose end the engine finds elsewhere', () => {
    // One with a VEX prefix and ModRM, which is stepped over, and a jump; for the engine wrmsr and a far jump.
    const code = [0x31, 0xc0, 0xc5, 0xf8, 0x30, 0xff, 0xe9, 0, 0, 0, 0];
    const copy = bytes.slice();
    copy.set(code, (parseElf(bytes, MODULE, X86_64.elf).section('.text')?.offset ?? 0) + 5);
    const elf = parseElf(copy, MODULE, X86_64.elf);
    const found = new ObjectChecker(guest, elf, { unwinder: 'orc' }).check();
    expect(found.skippedBecause['vector instructions']).toBeGreaterThan(0);
  });

  it('is left alone where a processor would take it', () => {
    expect(refused(0xff, 0xe0)).toBe(false); // jmp rax
    expect(refused(0x0f, 0x50, 0xc0)).toBe(false); // movmskps eax, xmm0
    expect(refused(0x66, 0x0f, 0xd6, 0x03)).toBe(false); // movq [rbx], xmm0
    expect(refused(0x0f, 0x71, 0xd0, 4)).toBe(false); // psrlw mm0, 4
    expect(refused(0x0f, 0x78, 0x03)).toBe(false); // vmread [rbx], rax
    expect(refused(0xff, 0xd0)).toBe(false); // call rax
    expect(refused(0xff, 0x28)).toBe(false); // ljmp [rax]
    expect(refused(0xf0, 0x48, 0x0f, 0xb1, 0x17)).toBe(false); // lock cmpxchg [rdi], rdx
    expect(refused(0xf0, 0xff, 0x07)).toBe(false); // lock inc dword [rdi]
    expect(refused(0xf0, 0x83, 0x44, 0x24, 0xfc, 0x00)).toBe(false); // lock add dword [rsp-4], 0
    expect(refused(0xf0, 0x48, 0x0f, 0xba, 0x2f, 0x03)).toBe(false); // lock bts qword [rdi], 3
  });
});
