// What an unwinder of x86_64 says of the frame it stands at, beside the address.

import type { Unwound } from '../../checking.ts';
import type { Unwinder } from '../../unwinders.ts';
import { DWARF_RBP } from '../unwind/dwarf_registers.ts';
import { FrameUnwinder } from '../unwind/unwind_frame.ts';
import { OrcUnwinder } from '../unwind/unwind_orc.ts';
import { TableUnwinder } from '../unwind/unwind_table.ts';

/** A frame: the caller's rbp, and the return address behind it. */
const FRAME_SIZE = 16;

export function unwound(
  unwinder: Unwinder,
  words: Uint32Array,
  fpLow: number,
  fpHigh: number,
): Unwound | undefined {
  if (unwinder instanceof OrcUnwinder) {
    return { prevSp: unwinder.sp, fpRight: unwinder.bp === unwinder.offsetOfAddress(fpLow, fpHigh) };
  }
  if (unwinder instanceof TableUnwinder) {
    return { prevSp: unwinder.sp, fpRight: unwinder.holds(DWARF_RBP, fpLow, fpHigh) };
  }
  if (!(unwinder instanceof FrameUnwinder)) return undefined;
  const { bp } = unwinder;
  const i = bp >> 2;
  return { prevSp: bp + FRAME_SIZE, fpRight: words[i] === fpLow && words[i + 1] === fpHigh };
}
