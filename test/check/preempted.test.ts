// A task that was preempted: its registers are on its stack, and the reliable trace goes through them.

import { describe, expect, it } from 'vitest';
import { REG } from '../../src/arch/x86_64/context.ts';
import { ORC_REG_BP, ORC_REG_R10, ORC_REG_SP } from '../../src/arch/x86_64/unwind/orc_registers.ts';
import { callerStack, RETURN_WORD } from '../../src/check/caller_stack.ts';
import { CALLER_FP_LO, ENTRY_SP, STACK_HALF, STACK_LO, TEXT_LO } from '../../src/check/check_layout.ts';
import { Judge } from '../../src/check/judge.ts';
import { ORC_REG_PREV_SP, ORC_REG_UNDEFINED, type OrcEntry, orcTableFromEntries } from '../../src/elf/orc.ts';

const AT = TEXT_LO + 0x40;
const BASE: OrcEntry = {
  spOffset: 8,
  spReg: ORC_REG_SP,
  fpOffset: 0,
  fpReg: ORC_REG_UNDEFINED,
  type: 0,
  end: false,
};

/** A judge of a function that has `depth` bytes below its return address, by one entry for all of it. */
function judgeOf(entry: Partial<OrcEntry>, depth: number) {
  const words = callerStack();
  const halves = new Uint32Array(36);
  const set = (reg: number, low: number): void => {
    halves[2 * reg] = low;
    halves[2 * reg + 1] = STACK_HALF;
  };
  set(REG.rsp, ENTRY_SP - depth);
  set(REG.rbp, CALLER_FP_LO);
  set(REG.r10, ENTRY_SP + 8);
  const table = orcTableFromEntries([{ ...BASE, ...entry, ip: TEXT_LO }]);
  const judge = new Judge({ words, halves }, [{ start: TEXT_LO, size: 0x100 }], { orc: table }, 'orc');
  return { judge, words, halves, set };
}

describe('a preempted task', () => {
  it.each([0, 8, 16, 24, 0x100])(
    'with %i bytes on its stack has the trace of the interrupted one',
    (depth) => {
      const { judge } = judgeOf({ spOffset: 8 + depth }, depth);
      expect(judge.judge('interrupted', AT)).toBe('right');
      expect(judge.judge('preempted', AT)).toBe('right');
      expect(judge.explain('preempted', AT).answer).toEqual({
        prevSp: depth + 8,
        prevFpRight: true,
        returnAddressRight: true,
      });
    },
  );

  it('is found wrong where the entry is', () => {
    for (const spOffset of [0, 16, 32]) {
      const { judge } = judgeOf({ spOffset }, 16);
      expect(judge.judge('preempted', AT), `${spOffset}`).not.toBe('right');
    }
  });

  it('has the registers that the entry goes by taken from its stack: rbp of a frame, r10 of a realigned one', () => {
    const frame = judgeOf({ spReg: ORC_REG_BP, spOffset: 16, fpReg: ORC_REG_PREV_SP, fpOffset: -16 }, 32);
    frame.set(REG.rbp, ENTRY_SP - 8);
    frame.words[RETURN_WORD - 2] = CALLER_FP_LO;
    frame.words[RETURN_WORD - 1] = STACK_HALF;
    expect(frame.judge.judge('preempted', AT)).toBe('right');
    const realigned = judgeOf({ spReg: ORC_REG_R10, spOffset: 0 }, 48);
    expect(realigned.judge.judge('preempted', AT)).toBe('right');
    realigned.set(REG.r10, ENTRY_SP);
    expect(realigned.judge.judge('preempted', AT)).not.toBe('right');
  });

  it('leaves the stack below as it was', () => {
    const { judge, words } = judgeOf({ spOffset: 24 }, 16);
    const before = words.slice();
    judge.judge('preempted', AT);
    judge.explain('preempted', AT);
    expect(words).toEqual(before);
    expect(words.length * 4).toBeGreaterThan(ENTRY_SP - STACK_LO);
  });
});
