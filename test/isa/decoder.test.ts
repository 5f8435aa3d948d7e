import { readdirSync, readFileSync } from 'node:fs';
import fc from 'fast-check';
import * as iced from 'iced-x86';
import { describe, expect, test } from 'vitest';
import { assembleSnippet } from '../../src/arch/x86_64/asm/assembler.ts';
import { X86_64 } from '../../src/arch/x86_64/x86_64.ts';
import { parseElf } from '../../src/elf/elf_object.ts';
import {
  blockLength,
  decodeAt,
  FLOW_CALL,
  FLOW_INVALID,
  FLOW_JMP,
  FLOW_NAMES,
  FLOW_NEXT,
  FLOW_RET,
  FLOW_SYSCALL,
  Insn,
} from '../../src/isa/decoder.ts';

const SHF_EXECINSTR = 4;
const MODULES = new URL('../../fixtures/modules/', import.meta.url);

interface Decoded {
  length: number;
  flow: string;
  target: number;
}

/** iced-x86's answer, in our terms. */
function icedDecode(decoder: iced.Decoder, out: iced.Instruction, offset: number): Decoded {
  decoder.position = offset;
  decoder.ip = BigInt(offset);
  decoder.decodeOut(out);
  if (out.code === iced.Code.INVALID) return { length: 0, flow: 'invalid', target: 0 };
  const branch =
    out.isCallNear || out.isJmpShortOrNear || out.isJccShortOrNear || out.isLoop || out.isJcxShort;
  const near = branch || out.isLoopcc;
  const target = near ? Number(out.nearBranchTarget & 0xffffffffn) : 0;
  return { length: out.length, flow: icedFlow(out), target };
}

function icedFlow(out: iced.Instruction): string {
  switch (out.mnemonic) {
    case iced.Mnemonic.Hlt:
      return 'hlt';
    case iced.Mnemonic.Syscall:
    case iced.Mnemonic.Sysenter:
      return 'syscall';
    case iced.Mnemonic.Sysret:
    case iced.Mnemonic.Sysretq:
    case iced.Mnemonic.Sysexit:
    case iced.Mnemonic.Sysexitq:
      return 'sysret';
    case iced.Mnemonic.Int3:
      return 'int3';
    case iced.Mnemonic.Iret:
    case iced.Mnemonic.Iretd:
    case iced.Mnemonic.Iretq:
      return 'iret';
    case iced.Mnemonic.Retf:
      return 'far';
  }
  if (out.isJmpFarIndirect || out.isCallFarIndirect) return 'far';
  const names: Record<number, string> = {
    [iced.FlowControl.Next]: 'next',
    [iced.FlowControl.UnconditionalBranch]: 'jmp',
    [iced.FlowControl.IndirectBranch]: 'jmpIndirect',
    [iced.FlowControl.ConditionalBranch]: 'jcc',
    [iced.FlowControl.Return]: 'ret',
    [iced.FlowControl.Call]: 'call',
    [iced.FlowControl.IndirectCall]: 'callIndirect',
    [iced.FlowControl.Interrupt]: 'int',
    [iced.FlowControl.XbeginXabortXend]: 'next',
    [iced.FlowControl.Exception]: 'ud2',
  };
  return names[out.flowControl] as string;
}

function ours(bytes: Uint8Array, offset: number): Decoded {
  const { length, flow, target } = decodeAt(bytes, offset, offset);
  return { length, flow: FLOW_NAMES[flow] as string, target };
}

describe('against iced-x86', () => {
  test.each(readdirSync(MODULES).filter((f) => f.endsWith('.ko')))('every instruction of %s', (file) => {
    const elf = parseElf(readFileSync(new URL(file, MODULES)), file, X86_64.elf);
    for (const section of elf.sections.filter((s) => s.flags & SHF_EXECINSTR)) {
      const bytes = elf.data(section);
      if (bytes.length === 0) continue;
      const decoder = new iced.Decoder(64, bytes, iced.DecoderOptions.None);
      const out = new iced.Instruction();
      for (let at = 0; at < bytes.length; ) {
        const expected = icedDecode(decoder, out, at);
        expect({ at, ...ours(bytes, at) }).toEqual({ at, ...expected });
        at += expected.length || 1;
      }
      out.free();
      decoder.free();
    }
  });

  test('any bytes that iced takes for an instruction have the same length', () => {
    const out = new iced.Instruction();
    fc.assert(
      fc.property(fc.uint8Array({ minLength: 1, maxLength: 20 }), (bytes) => {
        const decoder = new iced.Decoder(64, bytes, iced.DecoderOptions.None);
        const expected = icedDecode(decoder, out, 0);
        decoder.free();
        const mine = decodeAt(bytes, 0, 0);
        // We do not check every reserved encoding; what is valid we must measure right.
        if (expected.length > 0) expect(mine.length).toBe(expected.length);
        expect(mine.length).toBeLessThanOrEqual(bytes.length);
      }),
      { numRuns: 20_000 },
    );
  });
});

describe('an instruction', () => {
  test('that runs past the end is invalid', () => {
    expect(decodeAt(Uint8Array.of(0xe8, 1, 2, 3), 0, 0)).toMatchObject({ flow: FLOW_INVALID, length: 0 });
    expect(decodeAt(new Uint8Array(0), 0, 0).flow).toBe(FLOW_INVALID);
    expect(decodeAt(new Uint8Array(16).fill(0x66), 0, 0).flow).toBe(FLOW_INVALID);
  });

  test('has the target of a call modulo 32 bits, whichever half it crosses', () => {
    const insn = decodeAt(Uint8Array.of(0xe8, 0xfb, 0xff, 0xff, 0x7f), 0, 0x81000000, new Insn());
    expect(insn).toMatchObject({ flow: FLOW_CALL, target: 0x01000000 });
  });

  test('has its operand fields with the REX bits', async () => {
    const bytes = await assembleSnippet('mov r12, [rbp+r9*2-0x18]', 0n);
    expect(decodeAt(bytes, 0, 0)).toMatchObject({
      opcode: 0x8b,
      reg: 12,
      hasSib: true,
      sibBase: 5,
      sibIndex: 9,
      disp: -0x18,
      mod: 1,
    });
  });
});

describe('a block', () => {
  test('goes up to and with the first control transfer', async () => {
    const bytes = await assembleSnippet('push rbx\nmov rbx, rdi\nsyscall\nret', 0n);
    expect(blockLength(bytes, 0, 0)).toMatchObject({
      instructions: 3,
      bytes: 6,
      kind: FLOW_SYSCALL,
      last: 4,
    });
    expect(blockLength(bytes, 6, 6)).toMatchObject({ instructions: 1, bytes: 1, kind: FLOW_RET });
  });

  test('ends with the bytes, at the limit, and before what is no instruction', async () => {
    const bytes = await assembleSnippet('nop\nnop\nnop', 0n);
    expect(blockLength(bytes, 0, 0)).toMatchObject({ instructions: 3, kind: FLOW_NEXT });
    expect(blockLength(bytes, 0, 0, 2)).toMatchObject({ instructions: 2, bytes: 2, kind: FLOW_NEXT });
    const bad = Uint8Array.of(0x90, 0x06, 0x90);
    expect(blockLength(bad, 0, 0)).toMatchObject({ instructions: 1, bytes: 1, kind: FLOW_INVALID });
  });

  test('says where a jump goes and that a rep may run many times', async () => {
    const bytes = await assembleSnippet('rep stosq\n.Lx: jmp .Lx', 0xffffffff81000000n);
    expect(blockLength(bytes, 0, 0x81000000)).toMatchObject({
      kind: FLOW_JMP,
      target: 0x81000003,
      repeats: true,
    });
    expect(blockLength(bytes, 3, 0x81000003).repeats).toBe(false);
  });
});

describe('what is decoded into', () => {
  const sixteen = fc.uint8Array({ minLength: 16, maxLength: 16 });

  test('has no field of an instruction that was in it before', () => {
    fc.assert(
      fc.property(sixteen, sixteen, (before, bytes) => {
        const used = new Insn();
        decodeAt(before, 0, 0, used);
        expect({ ...decodeAt(bytes, 0, 0, used) }).toEqual({ ...decodeAt(bytes, 0, 0, new Insn()) });
      }),
    );
  });

  test.each([
    ['an index', 'mov ecx, [rax+rbx*4]', 'mov ecx, [rax]'],
    ['operands', 'mov ecx, [rax+rbx*4]', 'ret'],
    ['a prefix of AVX', 'vpaddd ymm1, ymm2, ymm3', 'nop'],
  ])('has not %s of one before', async (_, before, source) => {
    const used = new Insn();
    decodeAt(await assembleSnippet(before, 0n), 0, 0, used);
    const bytes = await assembleSnippet(source, 0n);
    expect({ ...decodeAt(bytes, 0, 0, used) }).toEqual({ ...decodeAt(bytes, 0, 0, new Insn()) });
  });
});
