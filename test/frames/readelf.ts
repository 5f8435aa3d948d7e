// What readelf says of frame tables, and ours in its words: an independent reader, row by row.

import { readFileSync } from 'node:fs';
import { X86_64 } from '../../src/arch/x86_64/x86_64.ts';
import { type ElfObject, parseElf } from '../../src/elf/elf_object.ts';
import type { FrameRow, FunctionFrames, Rule } from '../../src/frames/rows.ts';

export const OBJECTS = new URL('../../fixtures/objects/unwinders/', import.meta.url);
export const TABLES = X86_64.checking.tables;

export function object(name: string): ElfObject {
  return parseElf(readFileSync(new URL(name, OBJECTS)), name, X86_64.elf);
}

/** Of one function: where it is, its size, and its rows as `offset: words`. */
export interface FunctionText {
  readonly start: number;
  readonly size: number;
  readonly rows: readonly string[];
}

/** `readelf --sframe`; where it does not relocate, starts are all 0. */
export function sframeFunctions(text: string): FunctionText[] {
  return text
    .split(/^ {4}func idx /m)
    .slice(1)
    .map((part) => {
      const [, start, size] = /pc = 0x(\w+), size = (\d+) bytes/.exec(part) ?? [];
      const first = Number.parseInt(start, 16);
      const rows = [...part.matchAll(/^ {4}([0-9a-f]{16}) {2}(.*)/gm)];
      return {
        start: first,
        size: Number(size),
        rows: rows.map(([, at, words]) => {
          // A rule of more than ten letters has no space behind it.
          const apart = words
            .trim()
            .replace(/\)(?=\w)/g, ') ')
            .replace(/ +/g, ' ');
          return `${Number.parseInt(at, 16) - first}: ${apart}`;
        }),
      };
    });
}

/** Rows of ours as `readelf --sframe` prints them. `flexible`: whether the function is of the type that it marks by F. */
export function asSFrame(func: FunctionFrames, isFlexible: boolean): FunctionText {
  const rows: string[] = [];
  func.eachRow((from, row) => {
    const found = row();
    if (found) rows.push(`${from}: ${sframeRow(found, isFlexible)}`);
    return 'more';
  });
  return { start: func.start, size: func.size, rows };
}

function sframeRow({ cfa, rules }: FrameRow, isFlexible: boolean): string {
  const { fp, returnAddress } = TABLES.registers;
  const ra = rules.get(returnAddress);
  if (ra?.kind === 'undefined') return 'RA undefined';
  const saved = rules.get(fp);
  // A frame pointer behind it makes the word for the return address a padding.
  const padding = isFlexible && saved ? 'U' : 'f';
  const isFixed = ra?.kind === 'cfa' && ra.offset === -8 && ra.deref;
  const where = [sframeRule(cfa), saved ? sframeRule(saved) : 'u', isFixed ? padding : ra && sframeRule(ra)];
  return where.join(' ');
}

function sframeRule(rule: Rule): string {
  if (rule.kind !== 'register' && rule.kind !== 'cfa') return '?';
  const names: Readonly<Record<number, string>> = {
    [TABLES.registers.sp]: 'sp',
    [TABLES.registers.fp]: 'fp',
  };
  const base = rule.kind === 'cfa' ? 'c' : (names[rule.register] ?? `r${rule.register}`);
  const text = `${base}${rule.offset < 0 ? '' : '+'}${rule.offset}`;
  // All that go by the CFA are in memory, and it is not printed.
  return rule.deref && rule.kind === 'register' ? `(${text})` : text;
}

/** `readelf --debug-dump=frames-interp`, without CIEs. */
export function dwarfFunctions(text: string): FunctionText[] {
  const tables = new Map<string, readonly string[]>();
  return text.split(/\n\n/).flatMap((part) => {
    const [, common, start, end] = /FDE cie=(\w+) pc=(\w+)\.\.(\w+)/.exec(part) ?? [];
    const own = part.trim().split('\n').slice(1);
    if (start === undefined) {
      tables.set(/^\s*(\w+) \w+ \w+ CIE/m.exec(part)?.[1] ?? '', own);
      return [];
    }
    const first = Number.parseInt(start, 16);
    // Of one that says no more than its CIE nothing is printed.
    const [head = '', ...lines] =
      own.length > 0 ? own : (tables.get(common) ?? []).map((line) => line.replace(/^0{16}/, start));
    const names = head.trim().split(/\s+/).slice(1);
    const rows = lines
      .filter((line) => /^[0-9a-f]{16} /.test(line))
      .map((line) => {
        // A register is printed with its name in parentheses behind it.
        const [at, ...words] = line
          .replace(/ \(\w+\)/g, '')
          .trim()
          .split(/\s+/);
        const said = words
          .map((word, i) => `${names[i]} ${word}`)
          .filter((word) => !/^r(?!a )\w+ [us]$/.test(word));
        return `${Number.parseInt(at, 16) - first}: ${said.join(', ')}`;
      });
    return [{ start: first, size: Number.parseInt(end, 16) - first, rows: changes(rows) }];
  });
}

export function asDwarf(func: FunctionFrames): FunctionText {
  const rows: string[] = [];
  func.eachRow((from, row) => {
    const found = row();
    if (found) rows.push(`${from}: ${dwarfRow(found)}`);
    return 'more';
  });
  return { start: func.start, size: func.size, rows: changes(rows) };
}

function dwarfRow({ cfa, rules, returnAddress }: FrameRow): string {
  const names = TABLES.registers.names;
  const said = [...rules]
    .filter(([register, { kind }]) => register === returnAddress || (kind !== 'same' && kind !== 'undefined'))
    .sort(([a], [b]) => order(a) - order(b))
    .map(([register, rule]) => `${register === returnAddress ? 'ra' : names[register]} ${dwarfRule(rule)}`);
  return [`CFA ${dwarfRule(cfa, true)}`, ...said].join(', ');
}

const order = (register: number): number => register;

function dwarfRule(rule: Rule, isCfa = false): string {
  const signed = (n: number): string => `${n < 0 ? '' : '+'}${n}`;
  if (rule.kind === 'expression') return rule.deref || isCfa ? 'exp' : 'vexp';
  if (rule.kind === 'cfa') return `${rule.deref ? 'c' : 'v'}${signed(rule.offset)}`;
  if (rule.kind === 'register') {
    return isCfa ? `${TABLES.registers.names[rule.register]}${signed(rule.offset)}` : `r${rule.register}`;
  }
  return rule.kind === 'undefined' ? 'u' : 's';
}

/** A row that says what the one before says is none of its own. */
function changes(rows: readonly string[]): string[] {
  const words = (row: string | undefined): string | undefined => row?.replace(/^\d+: /, '');
  return rows.filter((row, i) => words(row) !== words(rows[i - 1]));
}
