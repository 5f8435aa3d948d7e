// What a port that has ORC must keep: the part of contract.ts that is about src/arch/orc.ts.

import fc from 'fast-check';
import { expect, it } from 'vitest';
import type { OrcFormatRule, OrcPort } from '../../src/arch/orc.ts';
import {
  ORC_REG_PREV_SP,
  ORC_REG_UNDEFINED,
  ORC_TYPE_CALL,
  ORC_TYPE_REGS,
  ORC_TYPE_REGS_PARTIAL,
  type OrcEntry,
  orcTableFromEntries,
  unpackOrcEntry,
} from '../../src/elf/orc.ts';

export function describeOrc(orc: OrcPort): void {
  const { formats, own, sp, fp } = orc;
  const offset = fc.integer({ min: -0x8000, max: 0x7fff });
  const answer = fc.record({
    spOffset: offset,
    fpOffset: offset,
    spReg: fc.constantFrom(sp, fp),
    fpReg: fc.constantFrom(ORC_REG_UNDEFINED, ORC_REG_PREV_SP),
    type: fc.constantFrom(ORC_TYPE_CALL, ORC_TYPE_REGS, ORC_TYPE_REGS_PARTIAL),
    end: fc.constant(false),
  });
  const none = { spOffset: 0, fpOffset: 0, spReg: ORC_REG_UNDEFINED, fpReg: ORC_REG_UNDEFINED };
  const end = fc.boolean().map((ends) => ({ ...none, type: ORC_TYPE_CALL, end: ends }));
  const written = (rule: OrcFormatRule, entry: OrcEntry): DataView => {
    const bytes = new DataView(new ArrayBuffer(rule.size));
    rule.write(orcTableFromEntries([{ ...entry, ip: 0 }]), 0, bytes, 0);
    return bytes;
  };

  it('has the layout of its own kernel, and each of them under a hash of its own', () => {
    expect([...formats.keys()]).toContain(own);
    const hashes = [...formats.values()].flatMap(({ hash }) => hash ?? []);
    expect(new Set(hashes).size).toBe(hashes.length);
  });

  it.each([...formats])('says in the layout of %s what a row says, and back', (_format, rule) => {
    fc.assert(
      fc.property(fc.oneof(answer, end), (entry) => {
        const bytes = written(rule, entry);
        expect(rule.isPossible(bytes, 0)).toBe(true);
        const into = orcTableFromEntries([{ ...none, type: ORC_TYPE_CALL, end: false, ip: 0 }]);
        expect(rule.read(bytes, 0, into, 0)).toBe(true);
        expect(unpackOrcEntry(into, 0)).toEqual(entry);
      }),
    );
  });

  it.each([...formats])("tells a function's start from its end in the layout of %s", (_format, rule) => {
    expect(rule.isStart(written(rule, { ...none, type: ORC_TYPE_CALL, end: true }), 0)).toBe(false);
  });

  it('has a line for an entry, with both of its offsets', () => {
    const line = orc.text({
      spOffset: 123,
      fpOffset: -45,
      spReg: sp,
      fpReg: 1,
      type: ORC_TYPE_CALL,
      end: false,
    });
    expect(line).toMatch(/^[^\n]*123[^\n]*-45[^\n]*$/);
  });
}
