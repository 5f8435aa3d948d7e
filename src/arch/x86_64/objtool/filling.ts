// What assemblers and linkers put between functions: no-ops as long as may be, or int3.
// Mirrors what gas makes of .p2align in text (i386_generate_nops()), and the 0xcc of SYM_FUNC_START() and the linker script.

import { decodeAt, FLOW_INT3, FLOW_JMP_INDIRECT, FLOW_RET, Insn } from '../../../isa/decoder.ts';

const INT3 = 0xcc;
const LONGEST = 11;

/** By length; the last is as long as one gets. */
const NOPS: readonly string[] = [
  '',
  '90',
  '6690',
  '0f1f00',
  '0f1f4000',
  '0f1f440000',
  '660f1f440000',
  '0f1f8000000000',
  '0f1f840000000000',
  '660f1f840000000000',
  '662e0f1f840000000000',
  '66662e0f1f840000000000',
];
/** A gap of so many bytes, up to an alignment of 16. */
const FILLS: readonly Uint8Array[] = Array.from({ length: 16 }, (_, length) => {
  const text = length > LONGEST ? NOPS[LONGEST] + NOPS[length - LONGEST] : NOPS[length];
  return Uint8Array.from(Buffer.from(text, 'hex'));
});

/**
 * Of the code of a function that begins at `start`. Of int3 behind a return, an indirect jump or before no-ops the first is
 * the code's own, against speculation.
 */
export function fillingBefore(bytes: Uint8Array, start: number, end: number): number {
  let at = end;
  while (at > start + 1) {
    const fill = fillAt(bytes, start + 1, at);
    if (fill === 0) break;
    at -= fill;
  }
  if (bytes[at - 1] !== INT3) return end - at;
  const { traps, isLeft } = trapsBefore(bytes, start, at);
  if (traps < at && traps > start) at = at < end || isLeft ? traps + 1 : traps;
  return end - at;
}

const insn = new Insn();

/** Where the int3 begin that are the last before `end`: the same byte may end a jump. */
function trapsBefore(
  bytes: Uint8Array,
  start: number,
  end: number,
): { readonly traps: number; readonly isLeft: boolean } {
  let traps = end;
  let isLeft = false;
  for (let at = start; at < end; ) {
    const { length, flow } = decodeAt(bytes, at, at, insn);
    if (flow !== FLOW_INT3 || length !== 1) {
      traps = at + (length || 1);
      isLeft = flow === FLOW_RET || flow === FLOW_JMP_INDIRECT;
    }
    at += length || 1;
  }
  return { traps: Math.min(traps, end), isLeft };
}

/** The longest that ends there. */
function fillAt(bytes: Uint8Array, start: number, end: number): number {
  for (let length = Math.min(FILLS.length - 1, end - start); length > 0; length--) {
    const fill = FILLS[length];
    let i = 0;
    while (i < length && bytes[end - length + i] === fill[i]) i++;
    if (i === length) return length;
  }
  return 0;
}
