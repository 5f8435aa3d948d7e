// Why a walk by ORC or by frame pointers ends in error. The kernel's words where it has words.

import { FIRST_PORT_FAILURE } from '../../../unwind/unwind_state.ts';

/** `%s` is the address the walk stood at. */
export const FAILURES: readonly string[] = [
  'no ORC data for %s',
  'undefined unwind state at %s',
  'missing R10 value at %s',
  'missing R13 value at %s',
  'missing RDI value at %s',
  'missing DX value at %s',
  'unknown SP base reg at %s',
  "can't access registers at %s",
  "can't access iret registers at %s",
  'unknown .orc_unwind entry type at %s',
  'unknown BP base reg for ip %s',
  'stack going in the wrong direction? at %s',
  'kernel stack frame pointer has bad value at %s',
  "kernel stack regs have bad 'bp' value at %s",
  'no row of the frame table for %s',
  'no return address for %s',
  'a register that is not known for %s',
  'an expression without a value for %s',
];

export const FAIL_NO_ORC = FIRST_PORT_FAILURE;
export const FAIL_UNDEFINED = FIRST_PORT_FAILURE + 1;
export const FAIL_NO_R10 = FIRST_PORT_FAILURE + 2;
export const FAIL_NO_R13 = FIRST_PORT_FAILURE + 3;
export const FAIL_NO_RDI = FIRST_PORT_FAILURE + 4;
export const FAIL_NO_DX = FIRST_PORT_FAILURE + 5;
export const FAIL_SP_REG = FIRST_PORT_FAILURE + 6;
export const FAIL_REGS = FIRST_PORT_FAILURE + 7;
export const FAIL_IRET_REGS = FIRST_PORT_FAILURE + 8;
export const FAIL_TYPE = FIRST_PORT_FAILURE + 9;
export const FAIL_BP_REG = FIRST_PORT_FAILURE + 10;
export const FAIL_DIRECTION = FIRST_PORT_FAILURE + 11;
export const FAIL_BAD_BP = FIRST_PORT_FAILURE + 12;
export const FAIL_BAD_BP_REGS = FIRST_PORT_FAILURE + 13;
export const FAIL_NO_ROW = FIRST_PORT_FAILURE + 14;
export const FAIL_NO_RETURN_ADDRESS = FIRST_PORT_FAILURE + 15;
export const FAIL_REGISTER = FIRST_PORT_FAILURE + 16;
export const FAIL_EXPRESSION = FIRST_PORT_FAILURE + 17;
