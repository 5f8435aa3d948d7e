// A kernel of some functions with the rows of their ORC table, in the layout of 6.1; stripped, with kallsyms.

import { kallsymsBytes } from './kallsyms_bytes.ts';
import { linkedElf, type Section } from './linked_elf.ts';

interface Row {
  /** From the function's beginning. */
  readonly at: number;
  readonly sp: number;
  /** 5 is the stack pointer, 0 undefined. */
  readonly reg: number;
  /** 0 call, 1 registers, 2 an interrupt's frame. */
  readonly type: number;
  readonly end?: boolean;
}

export interface EntryFunction {
  readonly name: string;
  readonly code: readonly number[];
  readonly rows: readonly Row[];
}

export const TEXT = 0xffffffff81000000n;
const ORC_IP = 0xffffffff81100000n;
const ORC = 0xffffffff81110000n;
const NAMES = 0xffffffff81120000n;
const FIXUPS = 0xffffffff81130000n;
const ALIGN = 16;
const AX = 6;
const A = 2;

interface More {
  /** Symbols of text, by offset. */
  readonly labels?: Readonly<Record<string, number>>;
  readonly sections?: readonly Section[];
}

/** What tells the format of the table. */
const PLAIN: EntryFunction = {
  name: 'plain',
  code: [0xc3],
  rows: [
    { at: 0, sp: 8, reg: 5, type: 0 },
    { at: 1, sp: 0, reg: 0, type: 0 },
  ],
};

/** One behind the other, at multiples of 16, and a plain one. `fixups`: of exceptions, from and to offsets in text. */
export function entryKernel(
  tested: readonly EntryFunction[],
  fixups: readonly (readonly [from: number, to: number])[] = [],
  { labels = {}, sections = [] }: More = {},
): Uint8Array {
  const functions = [...tested, PLAIN];
  const text = Buffer.alloc(functions.length * ALIGN, 0xcc);
  const rows = functions.flatMap(({ code, rows: own }, i) => {
    text.set(code, i * ALIGN);
    return own.map((row) => ({ ...row, at: i * ALIGN + row.at }));
  });
  rows.push({ at: text.length, sp: 0, reg: 0, type: 0 });
  const ips = Buffer.alloc(rows.length * 4);
  const orc = Buffer.alloc(rows.length * 6);
  rows.forEach(({ at, sp, reg, type, end = false }, i) => {
    ips.writeInt32LE(Number(TEXT - ORC_IP) + at - i * 4, i * 4);
    orc.writeInt16LE(sp, i * 6);
    orc[i * 6 + 4] = reg;
    orc[i * 6 + 5] = type | (end ? 4 : 0);
  });
  const table = Buffer.alloc(fixups.length * 12);
  fixups.forEach((row, i) => {
    row.forEach((to, field) => {
      const at = i * 12 + field * 4;
      table.writeInt32LE(Number(TEXT - FIXUPS) + to - at, at);
    });
  });
  const symbols = [
    { address: TEXT, type: 'T', name: '_stext' },
    ...functions.map(({ name }, i) => ({ address: TEXT + BigInt(i * ALIGN), type: 'T', name })),
    ...Object.entries(labels).map(([name, at]) => ({ address: TEXT + BigInt(at), type: 't', name })),
  ].sort((a, b) => Number(a.address - b.address));
  return linkedElf([
    { name: '.text', address: TEXT, flags: AX, bytes: text },
    { name: '.orc_unwind_ip', address: ORC_IP, flags: A, bytes: ips },
    { name: '.orc_unwind', address: ORC, flags: A, bytes: orc },
    { name: '.rodata', address: NAMES, flags: A, bytes: kallsymsBytes(symbols, '4.6', NAMES).bytes },
    ...sections,
    ...(fixups.length === 0 ? [] : [{ name: '__ex_table', address: FIXUPS, flags: A, bytes: table }]),
  ]);
}
