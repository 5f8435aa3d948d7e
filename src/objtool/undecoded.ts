// The bytes of an object's text that are no instructions, as a report names them.
//
// Invariant: what a symbol says is data (STT_OBJECT) is none of them; all else is, in a function or in none.

import { SYM_FUNC, SYM_OBJECT } from './input.ts';
import type { Code } from './insn.ts';
import { SymbolRanges } from './symbol_ranges.ts';

export interface UndecodedPlace {
  /** `function+0x12`, `.text+0x12` */
  readonly place: string;
  readonly bytes: number;
}

export function undecodedPlaces({ undecoded, input }: Code): UndecodedPlace[] {
  if (undecoded.length === 0) return [];
  const { symbols, sections } = input;
  const data = new SymbolRanges(symbols, (s) => symbols.type[s] === SYM_OBJECT);
  const functions = new SymbolRanges(symbols, (s) => symbols.type[s] === SYM_FUNC);
  const isCode = (section: number, start: number): boolean =>
    !sections[section].name.startsWith('.discard.') && !data.covers(section, start);
  return undecoded.flatMap(({ section, start, end }) => {
    if (!isCode(section, start)) return [];
    const func = functions.at(section, start);
    const [name, from] = func ? [symbols.name(func), symbols.value[func]] : [sections[section].name, 0];
    return [{ place: `${name}+0x${(start - from).toString(16)}`, bytes: end - start }];
  });
}

export const bytesOf = (places: readonly UndecodedPlace[]): number =>
  places.reduce((sum, { bytes }) => sum + bytes, 0);
