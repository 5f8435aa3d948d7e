// The table of opcodes against iced-x86: each opcode with each extension, with its operand in a register and in memory.

import * as iced from 'iced-x86';
import { describe, expect, it } from 'vitest';
import {
  DIVIDES,
  decodeAt,
  FLOW_MASK,
  Insn,
  LOCKABLE,
  STACK,
  STACK_MASK,
  STRING,
  WRITES,
  WRITES_MASK,
} from '../../src/isa/decoder.ts';
import { FACTS_0F, FACTS_ONE } from '../../src/isa/opcodes.ts';

interface Case {
  readonly hex: string;
  readonly insn: Insn;
  readonly theirs: iced.Instruction;
}

/** `REX.W opcode modrm` and zeros, where both decoders take it for an instruction. */
function* cases(): Generator<Case> {
  for (const map of [[], [0x0f]]) {
    for (let opcode = 0; opcode < 0x100; opcode++) {
      for (let ext = 0; ext < 8; ext++) {
        for (const mode of [0x03, 0xc3]) {
          const bytes = Uint8Array.from([...map, opcode, mode | (ext << 3), ...new Array(12).fill(0)]);
          const insn = decodeAt(bytes, 0, 0, new Insn());
          const theirs = new iced.Decoder(64, bytes, iced.DecoderOptions.None).decode();
          const same = theirs.code !== iced.Code.INVALID && theirs.length === insn.length;
          if (same && insn.opcode > 0 && !insn.vex)
            yield { hex: Buffer.from(bytes.subarray(0, 4)).toString('hex'), insn, theirs };
        }
      }
    }
  }
}

const ALL = [...cases()];
const factory = new iced.InstructionInfoFactory();
const WRITTEN = new Set([
  iced.OpAccess.Write,
  iced.OpAccess.CondWrite,
  iced.OpAccess.ReadWrite,
  iced.OpAccess.ReadCondWrite,
]);

/** The general registers, whole, and memory, that an instruction writes as one of its operands. */
function writtenOperands({ theirs }: Case): iced.OpKind[] {
  const info = factory.info(theirs);
  const kinds: iced.OpKind[] = [];
  for (let i = 0; i < theirs.opCount; i++) if (WRITTEN.has(info.opAccess(i))) kinds.push(theirs.opKind(i));
  return kinds;
}

const nameOf = (one: Case): string => `${one.hex} ${iced.Mnemonic[one.theirs.mnemonic]}`;
const stackOf = (one: Case): number => one.insn.facts & STACK_MASK;
const writesOf = (one: Case): number => one.insn.facts & WRITES_MASK;

describe('the table of opcodes', () => {
  it('is what the decoder answers from', () => {
    for (const { insn, hex } of ALL) {
      if (insn.opcode > 0xfff) continue;
      const row = (insn.opcode & 0xff) * 8 + (insn.hasModrm ? insn.reg & 7 : 0);
      const facts = (insn.opcode > 0xff ? FACTS_0F : FACTS_ONE)[row];
      expect(insn.facts, hex).toBe(facts);
      expect(insn.flow, hex).toBe((facts as number) & FLOW_MASK);
    }
    expect(ALL.length).toBeGreaterThan(4000);
  });

  it('knows every push, pop, call and return by what it does to rsp', () => {
    const by: Readonly<Record<number, number>> = {
      [STACK.PUSH_REG]: -8,
      [STACK.PUSH]: -8,
      [STACK.POP_REG]: 8,
      [STACK.POP]: 8,
      [STACK.POP_SEGMENT]: 8,
      [STACK.POP_RM]: 8,
      [STACK.CALL]: -8,
    };
    const others = new Set<number>([STACK.RET, STACK.IRET, STACK.ENTER, STACK.LEAVE]);
    const wrong = ALL.filter((one) => {
      if (others.has(stackOf(one)) || one.theirs.mnemonic === iced.Mnemonic.Call) return false;
      return one.theirs.stackPointerIncrement !== (by[stackOf(one)] ?? 0);
    });
    expect(wrong.map(nameOf)).toEqual([]);
  });

  it('says that nothing is written only where no operand is', () => {
    const wrong = ALL.filter((one) => writesOf(one) === WRITES.NONE && writtenOperands(one).length > 0);
    expect(wrong.map(nameOf)).toEqual([]);
  });

  it('says that a register alone is written only where memory is not', () => {
    const alone = ALL.filter((one) => writesOf(one) === WRITES.REG || writesOf(one) === WRITES.OPCODE);
    const wrong = alone.filter((one) => writtenOperands(one).includes(iced.OpKind.Memory));
    expect(wrong.map(nameOf)).toEqual([]);
    expect(alone.length).toBeGreaterThan(300);
  });

  it('says that rm is written wherever memory is, or nothing at all', () => {
    const said = new Set<number>([WRITES.RM, WRITES.BOTH, WRITES.ANY, WRITES.UNKNOWN]);
    const writers = ALL.filter((one) => writtenOperands(one).includes(iced.OpKind.Memory));
    expect(writers.filter((one) => !said.has(writesOf(one))).map(nameOf)).toEqual([]);
    expect(writers.length).toBeGreaterThan(300);
  });

  it('allows a LOCK prefix where the manual does', () => {
    const wrong = ALL.filter(({ insn, theirs }) => {
      const ours = (insn.facts & LOCKABLE) !== 0;
      return insn.mod !== 3 && ours !== theirs.opCode.canUseLockPrefix;
    });
    expect(wrong.map(nameOf)).toEqual([]);
  });

  it('calls string instructions and divisions what they are', () => {
    const divisions = new Set([iced.Mnemonic.Div, iced.Mnemonic.Idiv]);
    for (const one of ALL) {
      expect((one.insn.facts & STRING) !== 0, nameOf(one)).toBe(one.theirs.isStringInstruction);
      expect((one.insn.facts & DIVIDES) !== 0, nameOf(one)).toBe(divisions.has(one.theirs.mnemonic));
    }
  });
});
