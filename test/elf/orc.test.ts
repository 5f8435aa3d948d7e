import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import {
  ORC_REG_BP,
  ORC_REG_BP_INDIRECT,
  ORC_REG_R10,
  ORC_REG_SP,
  ORC_REG_SP_INDIRECT,
} from '../../src/arch/x86_64/unwind/orc_registers.ts';
import { X86_64 } from '../../src/arch/x86_64/x86_64.ts';
import {
  ORC_REG_PREV_SP,
  ORC_REG_UNDEFINED,
  ORC_TYPE_CALL,
  ORC_TYPE_REGS,
  type OrcEntry,
  type OrcLayout,
  OrcTableError,
  orcSearch,
  orcTableFromEntries,
  orcTableFromSections,
  unpackOrcEntry,
} from '../../src/elf/orc.ts';

const entry = (rest: Partial<OrcEntry>): OrcEntry => ({
  spOffset: 8,
  fpOffset: 0,
  spReg: ORC_REG_SP,
  fpReg: ORC_REG_UNDEFINED,
  type: ORC_TYPE_CALL,
  end: false,
  ...rest,
});

const anyEntry = fc.record({
  spOffset: fc.integer({ min: -0x8000, max: 0x7fff }),
  fpOffset: fc.integer({ min: -0x8000, max: 0x7fff }),
  spReg: fc.nat(15),
  fpReg: fc.nat(15),
  type: fc.nat(3),
  end: fc.boolean(),
});

/** struct orc_entry of 6.1 on x86_64. */
const LAYOUT = X86_64.code.orc.formats.get('6.1') as OrcLayout;

function packed(one: OrcEntry): Uint8Array {
  const bytes = new Uint8Array(LAYOUT.size);
  LAYOUT.write(orcTableFromEntries([{ ...one, ip: 0 }]), 0, new DataView(bytes.buffer), 0);
  return bytes;
}

const BASE = 0xffffffffc0300000n;

/** The two sections as a linker would have left them, for entries at the given offsets of the base address. */
function sections(entries: readonly (OrcEntry & { at: number })[]): { ip: Uint8Array; orc: Uint8Array } {
  const ip = new Uint8Array(entries.length * 4);
  const orc = new Uint8Array(entries.length * LAYOUT.size);
  const view = new DataView(ip.buffer);
  entries.forEach((e, i) => {
    view.setInt32(i * 4, e.at - i * 4, true);
    orc.set(packed(e), i * LAYOUT.size);
  });
  return { ip, orc };
}

describe('an ORC table', () => {
  it('has the six bytes of struct orc_entry', () => {
    const bytes = packed(entry({ spOffset: 16, fpOffset: -16, spReg: ORC_REG_BP, fpReg: ORC_REG_PREV_SP }));
    expect([...bytes]).toEqual([0x10, 0x00, 0xf0, 0xff, 0x14, 0x00]);
    expect([...packed(entry({ spReg: 0, spOffset: 0, type: ORC_TYPE_REGS, end: true }))]).toEqual([
      0, 0, 0, 0, 0, 0x05,
    ]);
  });

  it('is read from sections in any order, sorted by address, with nothing lost', () => {
    const placed = anyEntry.chain((e) =>
      fc.integer({ min: -0x100000, max: 0x100000 }).map((at) => ({ ...e, at })),
    );
    fc.assert(
      fc.property(fc.uniqueArray(placed, { selector: (e) => e.at }), (entries) => {
        const { ip, orc } = sections(entries);
        const table = orcTableFromSections(ip, BASE, orc, LAYOUT);
        const sorted = [...entries].sort((a, b) => a.at - b.at);
        expect(table.count).toBe(entries.length);
        sorted.forEach(({ at, ...rest }, i) => {
          expect(table.ip[i]).toBe(Number((BASE + BigInt(at)) & 0xffffffffn));
          expect(unpackOrcEntry(table, i)).toEqual(rest);
        });
      }),
    );
  });

  it('lets a real entry win over the terminator of the section before it', () => {
    const terminator = { ...entry({ spReg: ORC_REG_UNDEFINED, spOffset: 0 }), ip: 0x81000040 };
    const real = { ...entry({ spOffset: 24 }), ip: 0x81000040 };
    for (const order of [
      [terminator, real],
      [real, terminator],
    ]) {
      const table = orcTableFromEntries(order);
      expect(unpackOrcEntry(table, orcSearch(table.ip, 0, 1, 0x81000050)).spOffset).toBe(24);
    }
  });

  it('finds the rightmost entry at or before an address, as a plain scan does', () => {
    fc.assert(
      fc.property(fc.array(fc.nat(200), { minLength: 1 }), fc.nat(220), (offsets, at) => {
        const ips = Uint32Array.from(offsets.sort((a, b) => a - b));
        const last = ips.findLastIndex((ip) => ip <= at);
        expect(orcSearch(ips, 0, ips.length - 1, at)).toBe(Math.max(last, 0));
      }),
    );
  });

  it('is refused when its sections do not fit together', () => {
    const { ip, orc } = sections([{ ...entry({}), at: 0 }]);
    expect(() => orcTableFromSections(ip.subarray(1), BASE, orc, LAYOUT)).toThrow(OrcTableError);
    expect(() => orcTableFromSections(ip, BASE, orc.subarray(1), LAYOUT)).toThrow(
      'bad or missing .orc_unwind table',
    );
    expect(orcTableFromSections(new Uint8Array(0), BASE, new Uint8Array(0), LAYOUT).count).toBe(0);
  });

  it.each([
    [entry({}), 'sp:sp+8 bp:(und) type:call end:0'],
    [
      entry({ spReg: ORC_REG_BP, spOffset: 16, fpReg: 1, fpOffset: -16 }),
      'sp:bp+16 bp:prevsp-16 type:call end:0',
    ],
    [
      entry({ spReg: ORC_REG_BP_INDIRECT, spOffset: -8, fpReg: ORC_REG_BP }),
      'sp:(bp-8) bp:bp+0 type:call end:0',
    ],
    [entry({ spReg: ORC_REG_SP_INDIRECT }), 'sp:(sp)+8 bp:(und) type:call end:0'],
    [entry({ spReg: ORC_REG_R10, spOffset: 0, type: 1 }), 'sp:r10+0 bp:(und) type:regs end:0'],
    [entry({ spReg: ORC_REG_UNDEFINED, end: true }), 'sp:(und) bp:(und) type:call end:1'],
  ])('is shown as objtool shows it: %#', (e, text) => {
    expect(X86_64.code.orc.text(e)).toBe(text);
  });
});
