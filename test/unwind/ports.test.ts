import { expect, it } from 'vitest';
import {
  INACTIVE_FRAME_BP,
  INACTIVE_FRAME_RET_ADDR,
  INACTIVE_FRAME_SIZE,
} from '../../src/arch/x86_64/inactive_frame.ts';
import { PT_REGS_NAMES, PT_REGS_SIZE, packPtRegs, ptRegValue } from '../../src/arch/x86_64/pt_regs.ts';
import { BUILT_IN } from '../../src/kernel/description.ts';

const LAYOUT = BUILT_IN.structs;

it('the unwinders know pt_regs and the inactive task frame as the kernel lays them out', () => {
  const { fields, size } = LAYOUT.pt_regs;
  expect(size).toBe(PT_REGS_SIZE);
  for (const [i, name] of PT_REGS_NAMES.entries()) expect([name, fields[name]]).toEqual([name, i * 8]);
  expect(LAYOUT.inactive_task_frame.size).toBe(INACTIVE_FRAME_SIZE);
  expect(LAYOUT.inactive_task_frame.fields.bp).toBe(INACTIVE_FRAME_BP);
  expect(LAYOUT.inactive_task_frame.fields.ret_addr).toBe(INACTIVE_FRAME_RET_ADDR);
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
