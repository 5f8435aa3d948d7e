// All that src/check asks of the port to x86_64.

import type { Checking } from '../../checking.ts';
import { INACTIVE_FRAME_BP, INACTIVE_FRAME_RET_ADDR, INACTIVE_FRAME_SIZE } from '../inactive_frame.ts';
import { FRAME_TABLES } from '../unwind/frame_tables.ts';
import { CheckCore } from './core.ts';
import { FRAME_CODE } from './frame_code.ts';
import { INSNS } from './insns.ts';
import { CHECKED_REGISTERS } from './registers.ts';
import { CheckUnicorn } from './unicorn.ts';
import { unwound } from './unwound.ts';

export const CHECKING: Checking = {
  makeEngine: (name) => (name === 'core' ? new CheckCore() : new CheckUnicorn()),
  registers: CHECKED_REGISTERS,
  insns: INSNS,
  frames: FRAME_CODE,
  inactive: { size: INACTIVE_FRAME_SIZE, fp: INACTIVE_FRAME_BP, pc: INACTIVE_FRAME_RET_ADDR },
  tables: FRAME_TABLES,
  unwound,
};
