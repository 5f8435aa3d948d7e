// Bits that have names in the log: which bit a name is for is the kernel's to say.

import { describe, expect, it } from 'vitest';
import { BUILT_IN } from '../../src/kernel/description.ts';
import { gfpFlagsText } from '../../src/kernel/gfp.ts';
import { printTainted } from '../../src/kernel/taint.ts';

const { constants } = BUILT_IN;
const with_ = (changed: Partial<Record<keyof typeof constants, number>>) => ({
  ...BUILT_IN,
  constants: { ...constants, ...changed } as typeof constants,
});

describe('taints', () => {
  it('are letters in the order of their bits, G without proprietary modules', () => {
    expect(printTainted({ kernel: BUILT_IN, taints: 0 })).toBe('Not tainted');
    const taints = (1 << 15) | (1 << 13) | (1 << 12);
    expect(printTainted({ kernel: BUILT_IN, taints })).toBe('Tainted: G           OE K   ');
    expect(printTainted({ kernel: BUILT_IN, taints: 1 })).toBe('Tainted: P                  ');
  });

  it('are those of the kernel that has them', () => {
    const kernel = with_({ TAINT_LIVEPATCH: constants.TAINT_AUX, TAINT_AUX: constants.TAINT_LIVEPATCH });
    expect(printTainted({ kernel, taints: 1 << 15 })).toBe('Tainted: G              X   ');
  });
});

describe('flags of an allocation', () => {
  it('are named, the names of many bits first, and the rest is in hex', () => {
    expect(gfpFlagsText(constants, 0xcc0)).toBe('GFP_KERNEL');
    expect(gfpFlagsText(constants, 0xdc0)).toBe('GFP_KERNEL|__GFP_ZERO');
    expect(gfpFlagsText(constants, 0x8000_0000 | 0x2000)).toBe('__GFP_NOWARN|0x80000000');
  });

  it('are those of the kernel that has them', () => {
    const { __GFP_ZERO, __GFP_NOWARN } = constants;
    const kernel = with_({ __GFP_ZERO: __GFP_NOWARN, __GFP_NOWARN: __GFP_ZERO });
    expect(gfpFlagsText(kernel.constants, __GFP_ZERO)).toBe('__GFP_NOWARN');
  });
});
