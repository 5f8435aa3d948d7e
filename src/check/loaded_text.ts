// Text of an object where a check can execute it: its sections one after the other, relocations pointing to
// memory that is there.
//
// Invariant: control transfers are never executed, so only operands need their relocations.

import { R_X86_64_64, RELOCATION_TYPES } from '../elf/relocation.ts';
import type { ObjtoolInput } from '../objtool/input.ts';
import { DATA_MIDDLE, TEXT_BASE, TEXT_LO } from './check_guest.ts';

const MAX_TEXT = 80 << 20;

export class TextTooLargeError extends Error {
  readonly code = 'EFBIG';
}

export interface LoadedText {
  readonly bytes: Uint8Array;
  /** By section: low half of its address; 0 for one without text. */
  readonly start: Uint32Array;
  addrOf(section: number): bigint;
}

const PC_RELATIVE = new Set(RELOCATION_TYPES.filter((t) => t.pcRelative && t.width === 4).map((t) => t.type));
const ABSOLUTE_32 = new Set(
  RELOCATION_TYPES.filter((t) => !t.pcRelative && t.width === 4).map((t) => t.type),
);

export function loadText(input: ObjtoolInput): LoadedText {
  const start = new Uint32Array(input.sections.length);
  let size = 0;
  input.sections.forEach((section, i) => {
    if (!section.text || section.bytes.length === 0) return;
    start[i] = TEXT_LO + size;
    size = (size + section.bytes.length + 31) & ~15;
  });
  if (size > MAX_TEXT) throw new TextTooLargeError(`text of ${size} bytes is more than a module can have`);
  const bytes = new Uint8Array(size).fill(0xcc);
  const view = new DataView(bytes.buffer);
  input.sections.forEach((section, i) => {
    if (start[i] === 0) return;
    const at = start[i] - TEXT_LO;
    bytes.set(section.bytes, at);
    const { relocs } = section;
    for (let r = 0; relocs && r < relocs.count; r++) {
      const place = at + relocs.offset[r];
      const type = relocs.type[r];
      if (relocs.offset[r] + (type === R_X86_64_64 ? 8 : 4) > section.bytes.length) continue;
      if (type === R_X86_64_64) view.setBigUint64(place, DATA_MIDDLE, true);
      else if (PC_RELATIVE.has(type)) {
        view.setInt32(place, Number(DATA_MIDDLE - TEXT_BASE) - place - 4, true);
      } else if (ABSOLUTE_32.has(type)) view.setUint32(place, Number(DATA_MIDDLE & 0xffffffffn), true);
    }
  });
  const addrOf = (section: number): bigint => 0xffffffff00000000n | BigInt(start[section]);
  return { bytes, start, addrOf };
}
