// One kernel of a real one and ours, by small made-up ones: which symbol stands for which, and where references go.

import { describe, expect, it } from 'vitest';
import { X86_64 } from '../../src/arch/x86_64/x86_64.ts';
import { assembleImageFor } from '../../src/asm/assembler.ts';
import { BUILT_IN } from '../../src/kernel/description.ts';
import { PackedNames } from '../../src/kernel/packed_names.ts';
import { hostingOf } from '../../src/machine/native/hosted.ts';
import type { NativeKernel } from '../../src/machine/native/native_kernel.ts';

const SOURCE = `
.text
SYM_FUNC_START(cmdline_proc_show)
    nop
SYM_FUNC_END(cmdline_proc_show)
SYM_FUNC_START(schedule)
    call    cmdline_proc_show
    mov     rax, [rip+jiffies]
SYM_FUNC_END(schedule)
SYM_FUNC_START(tiny)
    nop
SYM_FUNC_END(tiny)
SYM_FUNC_START(enabled_store)
    nop
SYM_FUNC_END(enabled_store)
SYM_FUNC_START(twice)
    nop
SYM_FUNC_END(twice)
.data
SYM_DATA_START(jiffies)
    .quad   7
SYM_DATA_END(jiffies)
SYM_DATA_START(large)
    .quad   1, 2
SYM_DATA_END(large)
`;

/** By address; sizes reach to the next. */
const REAL: readonly (readonly [number, string, string])[] = [
  [0x81000000, 'T', 'cmdline_proc_show'],
  [0x81000010, 'T', 'schedule'],
  [0x81000030, 'T', 'tiny'],
  [0x81000032, 't', 'enabled_store'],
  [0x81000100, 't', 'twice'],
  [0x81000200, 't', 'twice'],
  [0x81000300, 't', 'enabled_store'],
  [0x81000320, 'T', 'klp_enable_patch'],
  [0x82000000, 'D', 'jiffies'],
  [0x82000008, 'D', 'large'],
  [0x82000010, 'D', 'end_of_data'],
];

const native = {
  symbols: {
    low: Uint32Array.from(REAL, ([low]) => low),
    high: new Uint32Array(REAL.length).fill(0xffffffff),
    types: Uint8Array.from(REAL, ([, type]) => type.charCodeAt(0)),
    names: PackedNames.of(REAL.length, (i) => REAL[i][2]),
  },
} as unknown as NativeKernel;

const at = (low: number): bigint => 0xffffffff00000000n | BigInt(low);

describe('a real kernel and ours', async () => {
  const port = await X86_64.assembler();
  const own = assembleImageFor(port, [{ path: 'a.s', text: SOURCE }], {});
  const hosting = hostingOf(own, native, BUILT_IN);

  it('have functions of both in ours, by a jump from the real entry where there is room for one', () => {
    expect([...hosting.jumps].sort()).toEqual([
      ['enabled_store', at(0x81000300)],
      ['schedule', at(0x81000010)],
    ]);
  });

  it('take of a name that there is several times the one beside a symbol of its file, or none', () => {
    expect(hosting.jumps.get('enabled_store')).toBe(at(0x81000300));
    expect(hosting.jumps.has('twice')).toBe(false);
    expect(hosting.ours.has('twice')).toBe(false);
  });

  it('share data that the real one has room for', () => {
    expect([...hosting.places]).toEqual([
      ['cmdline_proc_show', at(0x81000000)],
      ['jiffies', at(0x82000000)],
    ]);
    expect(hosting.ours.get('large')).toBe(at(0x82000008));
  });

  it('have calls and references of ours lead to what is the real one', () => {
    const base = at(0x83000000);
    const { sections, symbols } = assembleImageFor(port, [{ path: 'a.s', text: SOURCE }], {
      bases: { '.text': base },
      places: hosting.places,
    });
    const text = sections.find(({ name }) => name === '.text');
    const schedule = symbols.find(({ name }) => name === 'schedule');
    if (!text || !schedule) throw new Error('no text');
    const view = new DataView(text.bytes.buffer, text.bytes.byteOffset + Number(schedule.addr - text.addr));
    const callEnd = schedule.addr + 5n;
    expect(BigInt.asUintN(64, callEnd + BigInt(view.getInt32(1, true)))).toBe(at(0x81000000));
    const moveEnd = callEnd + 7n;
    expect(BigInt.asUintN(64, moveEnd + BigInt(view.getInt32(8, true)))).toBe(at(0x82000000));
  });
});
