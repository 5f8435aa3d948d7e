// What a debugger asks of x86-64.

import type { DebugPort } from '../../debug.ts';
import { DESCRIPTION } from './description.ts';
import { INITIAL_RULES, LAST_FRAME, RETURN_COLUMN, rulesOf } from './frame_rules.ts';
import { numberOf, ofContext, ofInactive, REGISTERS, setInContext } from './registers.ts';

export const DEBUG: DebugPort = {
  description: DESCRIPTION,
  registers: REGISTERS,
  pc: numberOf('rip'),
  sp: numberOf('rsp'),
  expedited: ['rbp', 'rsp', 'rip'].map(numberOf),
  ofContext,
  ofInactive,
  setInContext,
  returnColumn: RETURN_COLUMN,
  initialRules: INITIAL_RULES,
  rulesOf,
  lastFrame: LAST_FRAME,
};
