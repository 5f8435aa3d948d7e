// The three unwinders that x86 can be configured with. Mirrors arch/x86/Kconfig.debug and, of what is reliable,
// arch/x86/Kconfig.

import { GuessUnwinder } from '../../../unwind/unwind_guess.ts';
import type { UnwinderPort } from '../../unwinders.ts';
import { PT_REGS } from '../pt_regs.ts';
import { FrameUnwinder } from './unwind_frame.ts';
import { OrcUnwinder } from './unwind_orc.ts';

export type UnwinderKind = 'orc' | 'frame pointer' | 'none';

export const UNWINDERS: Readonly<Record<UnwinderKind, UnwinderPort>> = {
  orc: {
    reliable: true,
    byFrames: false,
    make: ({ arena, lookup, retFromFork }) => new OrcUnwinder(arena, lookup, retFromFork),
  },
  // Only if objtool has made sure of the frames (CONFIG_STACK_VALIDATION). That is so for the image
  // (test/machine/frame_pointer_image.test.ts); who loads a module vouches for it.
  'frame pointer': {
    reliable: true,
    byFrames: true,
    make: ({ arena, lookup }) => new FrameUnwinder(arena, lookup),
  },
  none: {
    reliable: false,
    byFrames: false,
    make: ({ arena, lookup }) => new GuessUnwinder(arena, lookup, PT_REGS),
  },
};
