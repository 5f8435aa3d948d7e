// The port to x86_64: the one implementation of Arch. Mirrors arch/x86.

import type { Arch } from '../arch.ts';
import { CONTEXT } from './context.ts';
import { UnicornEngine } from './unicorn/unicorn.ts';

export const X86_64: Arch = {
  name: 'x86_64',
  makeEngine: (byteAt) => new UnicornEngine(byteAt),
  context: CONTEXT,
};
