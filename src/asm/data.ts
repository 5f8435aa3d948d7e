// Data directives and padding.

import { AsmError, type Place } from './error.ts';
import { isNumber, type Value } from './expr.ts';
import { splitOperands } from './operands.ts';
import { type Fixup, isTextSection, type Section } from './program.ts';

/** What a directive needs of the reader. */
interface DataTarget {
  readonly section: Section;
  readonly block: unknown;
  value(place: Place, text: string): Value;
  emit(item: Section['items'][number]): void;
}

const WIDTHS: Readonly<Record<string, number>> = {
  '.byte': 1,
  '.word': 2,
  '.short': 2,
  '.2byte': 2,
  '.long': 4,
  '.int': 4,
  '.4byte': 4,
  '.quad': 8,
  '.8byte': 8,
};
const MAX_SPACE = 1 << 28;
const ESCAPES: Readonly<Record<string, number>> = {
  n: 10,
  t: 9,
  r: 13,
  b: 8,
  f: 12,
  '\\': 92,
  '"': 34,
  "'": 39,
};

function checkedNumber(target: DataTarget, place: Place, text: string, what: string): number {
  const value = target.value(place, text);
  if (!isNumber(value)) throw new AsmError(place, `${what} must be a number`, text);
  return Number(value.num);
}

export function putNumber(bytes: Uint8Array, offset: number, width: number, value: bigint): void {
  for (let i = 0; i < width; i++) bytes[offset + i] = Number((value >> BigInt(8 * i)) & 0xffn);
}

export function fitsWidth(value: bigint, width: number): boolean {
  const bits = BigInt(8 * width);
  return value >= -(1n << (bits - 1n)) && value < 1n << bits;
}

function numbers(target: DataTarget, place: Place, word: string, operands: string): void {
  const width = WIDTHS[word] as number;
  const texts = splitOperands(operands);
  const bytes = new Uint8Array(width * texts.length);
  const fixups: Fixup[] = [];
  texts.forEach((text, i) => {
    const value = target.value(place, text);
    if (!isNumber(value)) fixups.push({ kind: 'data', offset: i * width, width, value });
    else if (!fitsWidth(value.num, width))
      throw new AsmError(place, `${value.num} does not fit ${word}`, text);
    else putNumber(bytes, i * width, width, value.num);
  });
  if (texts.length === 0) throw new AsmError(place, `${word} wants values`);
  target.emit({ kind: 'bytes', place, bytes, fixups });
}

function parseString(place: Place, text: string): number[] {
  if (!/^"(\\.|[^"\\])*"$/.test(text)) throw new AsmError(place, 'bad string', text);
  const out: number[] = [];
  const body = text.slice(1, -1);
  const piece = /\\([0-7]{1,3}|x[0-9a-fA-F]{1,2}|.)|([^\\]+)/g;
  for (const match of body.matchAll(piece)) {
    const code = match[1];
    if (code === undefined) out.push(...Buffer.from(match[2] as string, 'utf8'));
    else if (/^[0-7]/.test(code)) out.push(Number.parseInt(code, 8) & 0xff);
    else if (/^x./.test(code)) out.push(Number.parseInt(code.slice(1), 16));
    else out.push(ESCAPES[code] ?? code.charCodeAt(0));
  }
  return out;
}

function strings(target: DataTarget, place: Place, word: string, operands: string): void {
  const bytes: number[] = [];
  for (const text of splitOperands(operands)) {
    bytes.push(...parseString(place, text));
    if (word !== '.ascii') bytes.push(0);
  }
  target.emit({ kind: 'bytes', place, bytes: Uint8Array.from(bytes), fixups: [] });
}

function space(target: DataTarget, place: Place, size: number, fill: number): void {
  if (size < 0 || size > MAX_SPACE) throw new AsmError(place, `bad size ${size}`);
  if (target.section.name === '.bss') {
    if (fill !== 0) throw new AsmError(place, '.bss holds zeros only');
    target.emit({ kind: 'space', place, size });
  } else {
    target.emit({ kind: 'bytes', place, bytes: new Uint8Array(size).fill(fill), fixups: [] });
  }
}

function fillRepeated(target: DataTarget, place: Place, operands: string): void {
  const [repeatText, sizeText = '1', valueText = '0'] = splitOperands(operands);
  const repeat = checkedNumber(target, place, repeatText ?? '', 'the count');
  const size = checkedNumber(target, place, sizeText, 'the size');
  if (repeat < 0 || size < 0 || size > 8 || repeat * size > MAX_SPACE) throw new AsmError(place, 'bad .fill');
  const value = target.value(place, valueText);
  if (!isNumber(value)) throw new AsmError(place, '.fill wants a number', valueText);
  if (value.num === 0n) {
    space(target, place, repeat * size, 0);
    return;
  }
  const bytes = new Uint8Array(repeat * size);
  for (let i = 0; i < repeat; i++) putNumber(bytes, i * size, size, value.num);
  target.emit({ kind: 'bytes', place, bytes, fixups: [] });
}

function align(target: DataTarget, place: Place, word: string, operands: string): void {
  const [sizeText = '', fillText] = splitOperands(operands);
  const given = checkedNumber(target, place, sizeText, 'the alignment');
  const size = word === '.p2align' ? 2 ** given : given;
  if (size < 1 || size > 1 << 20 || (size & (size - 1)) !== 0)
    throw new AsmError(place, `${given} is no alignment`);
  const code = isTextSection(target.section.name);
  const fallback = !code ? 0 : target.block ? undefined : 0xcc;
  const filler = fillText ? checkedNumber(target, place, fillText, 'the fill') : fallback;
  target.emit({ kind: 'align', place, align: size, fill: filler });
}

/** True when the directive was one of these. */
export function readData(target: DataTarget, place: Place, word: string, operands: string): boolean {
  if (word in WIDTHS) numbers(target, place, word, operands);
  else if (word === '.asciz' || word === '.string' || word === '.ascii')
    strings(target, place, word, operands);
  else if (word === '.skip' || word === '.space' || word === '.zero') {
    const [size = '', filler = '0'] = splitOperands(operands);
    space(
      target,
      place,
      checkedNumber(target, place, size, 'the size'),
      checkedNumber(target, place, filler, 'the fill'),
    );
  } else if (word === '.fill') fillRepeated(target, place, operands);
  else if (word === '.balign' || word === '.align' || word === '.p2align')
    align(target, place, word, operands);
  else return false;
  const last = target.section.items.at(-1);
  if (target.section.name === '.bss' && last?.kind === 'bytes' && last.bytes.length > 0) {
    throw new AsmError(place, '.bss holds zeros only', word);
  }
  return true;
}
