import { expect, it } from 'vitest';
import { SELECTOR, TSS_RSP0 } from '../../src/arch/x86_64/gdt.ts';
import {
  INACTIVE_FRAME_BP,
  INACTIVE_FRAME_BX,
  INACTIVE_FRAME_R12,
  INACTIVE_FRAME_RET_ADDR,
  INACTIVE_FRAME_SIZE,
} from '../../src/arch/x86_64/inactive_frame.ts';
import { PT_REGS_NAMES, PT_REGS_SIZE, packPtRegs, ptRegValue } from '../../src/arch/x86_64/pt_regs.ts';
import { RFLAGS } from '../../src/arch/x86_64/rflags.ts';
import { BUILT_IN } from '../../src/kernel/description.ts';

const LAYOUT = BUILT_IN.structs;

it('the unwinders know pt_regs and the inactive task frame as the kernel lays them out', () => {
  const { fields, size } = LAYOUT.pt_regs;
  expect(size).toBe(PT_REGS_SIZE);
  for (const [i, name] of PT_REGS_NAMES.entries()) expect([name, fields[name]]).toEqual([name, i * 8]);
  const inactive = LAYOUT.inactive_task_frame;
  expect(inactive.size).toBe(INACTIVE_FRAME_SIZE);
  const { r12, bx, bp, ret_addr } = inactive.fields;
  expect([r12, bx, bp, ret_addr]).toEqual([
    INACTIVE_FRAME_R12,
    INACTIVE_FRAME_BX,
    INACTIVE_FRAME_BP,
    INACTIVE_FRAME_RET_ADDR,
  ]);
});

it("the port's selectors, stack of a TSS and bits of RFLAGS are those that the kernel's headers have", () => {
  expect(TSS_RSP0).toBe(LAYOUT.x86_hw_tss.fields.sp0);
  const of = BUILT_IN.constants;
  expect(SELECTOR).toEqual({
    KERNEL_CS: of.__KERNEL_CS,
    KERNEL_DS: of.__KERNEL_DS,
    USER_CS: of.__USER_CS,
    USER_DS: of.__USER_DS,
  });
  expect(RFLAGS).toEqual({
    FIXED: BigInt(of.X86_EFLAGS_FIXED),
    TF: BigInt(of.X86_EFLAGS_TF),
    IF: BigInt(of.X86_EFLAGS_IF),
    DF: BigInt(of.X86_EFLAGS_DF),
    NT: BigInt(of.X86_EFLAGS_NT),
    RF: BigInt(of.X86_EFLAGS_RF),
    AC: BigInt(of.X86_EFLAGS_AC),
  });
});

it('a register file keeps all 64 bits of what is put in it', () => {
  const regs = packPtRegs({ ip: 0xffffffff81000010n, r15: 0xfedcba9876543210n });
  expect([
    ptRegValue(regs, 'ip'),
    ptRegValue(regs, 'r15'),
    ptRegValue(regs, 'cs'),
    ptRegValue(regs, 'ss'),
  ]).toEqual([0xffffffff81000010n, 0xfedcba9876543210n, 0x10n, 0n]);
});
