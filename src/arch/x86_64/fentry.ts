// `call __fentry__` at the start of a function, or behind its endbr64. Mirrors arch/x86/kernel/ftrace.c.

import type { FentrySite } from '../fentry.ts';
import { CALL, CALL_SIZE, callInsn, ENDBR64, NOP5, targetOf } from './insn.ts';

export const FENTRY: FentrySite = {
  size: CALL_SIZE,
  nop: NOP5,
  entry: '__fentry__',
  // As with CONFIG_X86_KERNEL_IBT: ENDBR_INSN_SIZE.
  maxOffset: ENDBR64.length,
  landingPad: (code) =>
    ENDBR64.every((byte, i) => code[i] === byte) ? { what: 'an endbr64', size: ENDBR64.length } : undefined,
  call: callInsn,
  target: (site, insn) => (insn[0] === CALL && insn.length >= CALL_SIZE ? targetOf(site, insn) : undefined),
};
