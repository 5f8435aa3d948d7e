// The port to x86_64: the one implementation of Arch. Mirrors arch/x86.

import type { Arch } from '../arch.ts';
import { CONTEXT } from './context.ts';
import { FENTRY } from './fentry.ts';
import { POKING } from './poking.ts';
import { PT_REGS } from './pt_regs.ts';
import { TRAMPOLINE } from './trampoline.ts';
import { UnicornEngine } from './unicorn/unicorn.ts';

export const X86_64: Arch = {
  name: 'x86_64',
  makeEngine: (byteAt) => new UnicornEngine(byteAt),
  context: CONTEXT,
  ptRegs: PT_REGS,
  fentry: FENTRY,
  trampoline: TRAMPOLINE,
  poking: POKING,
};
