// One instruction of a listing in a line, in columns as objdump has them.

import type { DisassembledInsn } from '../arch/disassembly.ts';
import { hexBytes } from './trace.ts';

/** Bytes that stand beside an instruction. */
const BYTE_COLUMN = 7;

export function insnText({ addr, bytes, text }: DisassembledInsn): string {
  return `${addr.toString(16)}:  ${hexBytes(bytes).padEnd(3 * BYTE_COLUMN)} ${text}`;
}
