// A .debug_frame section made from the tables of frames that the unwinder of the machine walks by.
// DWARF 5, 6.4.1: common information and frame description entries, 32-bit format, version 4.
//
// Invariant: every address of the text is covered; where no table says anything the walk of a debugger ends, as the reliable
// one does.

import type { DebugPort } from '../arch/debug.ts';
import type { OrcTable } from '../elf/orc.ts';
import { fromHalves, TEXT_HI } from '../guest/addr.ts';

/** A piece of text; a copy of another has that one's table. */
export interface FrameText {
  /** Low half of its first address. */
  readonly start: number;
  readonly size: number;
  readonly orc?: OrcTable;
  /** Where what it is a copy of begins: low half. */
  readonly from?: number;
}

/** Rows of one entry: a debugger executes them from the first on for each frame. */
const MOST_ROWS = 64;
/** DW_CFA_advance_loc4 */
const ADVANCE = 4;
const CIE_ID = 0xffffffff;
const [VERSION, ADDRESS_BYTES, ENTRY_ALIGN] = [4, 8, 8];

/** Text of one kind, and the instructions for its rows. */
interface Entry {
  readonly start: number;
  end: number;
  readonly signal: boolean;
  readonly kind: number;
  readonly code: number[];
  rows: number;
  last: number;
}

/** @param users [first, end) of user programs, which have no callers */
export function debugFrame(
  port: DebugPort,
  texts: readonly FrameText[],
  users?: readonly [bigint, bigint],
): Uint8Array {
  const plain = commonEntry(port, '');
  const signal = commonEntry(port, 'zS');
  const parts: Uint8Array[] = [plain, signal];
  for (const text of texts)
    for (const entry of entriesOf(port, text))
      parts.push(
        frameEntry(
          entry.signal ? plain.length : 0,
          entry.signal,
          fromHalves(TEXT_HI, entry.start),
          entry.end - entry.start,
          entry.code,
        ),
      );
  if (users) parts.push(frameEntry(0, false, users[0], Number(users[1] - users[0]), port.lastFrame.code));
  return new Uint8Array(Buffer.concat(parts));
}

function entriesOf(port: DebugPort, { start, size, orc, from }: FrameText): Entry[] {
  const end = start + size;
  const shift = from === undefined ? 0 : start - from;
  const entries: Entry[] = [];
  let open: Entry | undefined;
  const add = (at: number, to: number, { code, signal, kind }: DebugPort['lastFrame']): void => {
    if (at >= to) return;
    if (!open || open.kind !== kind || open.signal !== signal || open.rows === MOST_ROWS || open.end !== at) {
      open = { start: at, end: at, signal, kind, code: [], rows: 0, last: at };
      entries.push(open);
    } else open.code.push(ADVANCE, ...word(at - open.last));
    open.code.push(...code);
    open.end = to;
    open.last = at;
    open.rows++;
  };
  const first = orc ? rowAt(orc, start - shift) : 0;
  const count = orc?.count ?? 0;
  if (!orc || count === 0) add(start, end, port.lastFrame);
  else {
    add(start, Math.min(end, orc.ip[first] + shift), port.lastFrame);
    for (let row = first; row < count && orc.ip[row] + shift < end; row++) {
      // Of rows with one address the last holds.
      const next = row + 1 < count ? orc.ip[row + 1] + shift : end;
      add(Math.max(start, orc.ip[row] + shift), Math.min(end, next), port.rulesOf(orc, row));
    }
  }
  return entries;
}

/** The row in force at an address, or the first. */
function rowAt({ ip, count }: OrcTable, at: number): number {
  let [low, high] = [0, count];
  while (low < high) {
    const mid = (low + high) >>> 1;
    if (ip[mid] <= at) low = mid + 1;
    else high = mid;
  }
  return Math.max(0, low - 1);
}

function word(value: number): number[] {
  return [value & 255, (value >>> 8) & 255, (value >>> 16) & 255, value >>> 24];
}

function commonEntry({ returnColumn, initialRules }: DebugPort, augmentation: string): Uint8Array {
  const letters = [...augmentation].map((letter) => letter.charCodeAt(0));
  // Address and segment selector sizes; code and data are counted by bytes; what `z` announces has no bytes.
  const head = [...word(CIE_ID), VERSION, ...letters, 0, ADDRESS_BYTES, 0, 1, 1, returnColumn];
  return entry([...head, ...(augmentation === '' ? [] : [0])], initialRules);
}

function frameEntry(
  common: number,
  augmented: boolean,
  start: bigint,
  size: number,
  code: ArrayLike<number>,
): Uint8Array {
  const head = Buffer.alloc(20);
  head.writeUInt32LE(common, 0);
  head.writeBigUInt64LE(start, 4);
  head.writeBigUInt64LE(BigInt(size), 12);
  return entry([...head, ...(augmented ? [0] : [])], code);
}

/** Filled up with DW_CFA_nop. */
function entry(head: readonly number[], code: ArrayLike<number>): Uint8Array {
  const used = head.length + code.length;
  const length = Math.ceil((used + 4) / ENTRY_ALIGN) * ENTRY_ALIGN - 4;
  const bytes = new Uint8Array(4 + length);
  bytes.set(word(length));
  bytes.set(head, 4);
  bytes.set(code, 4 + head.length);
  return bytes;
}
