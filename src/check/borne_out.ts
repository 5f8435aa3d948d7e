// Which reading of an object's ORC table execution bears out, where nothing else tells the format: the answers of each
// reading are held against what is true, at some of the places that have entries.
//
// Invariant: the format is one whose answers are right at more places than any other's, and at half of them or more;
// where there is none, there is no answer.

import type { OrcFormat, OrcPort } from '../arch/orc.ts';
import type { ElfObject } from '../elf/elf_object.ts';
import { ElfError } from '../elf/error.ts';
import { isWeakTerminator } from '../elf/orc.ts';
import { readOrcAs } from '../objtool/orc_format.ts';
import type { KnownFormat } from '../objtool/orc_format_of.ts';
import type { OrcRows } from '../objtool/orc_rows.ts';
import type { CheckGuest } from './check_guest.ts';
import { ObjectChecker } from './check_object.ts';

/** Places at which each reading is asked. */
const MOST_PLACES = 200;

interface Reading {
  readonly format: OrcFormat;
  readonly rows: OrcRows;
}

/** Formats in which the entries say the same are one reading. */
function readingsOf(elf: ElfObject, orc: OrcPort, formats: readonly OrcFormat[]): Reading[][] {
  const groups: Reading[][] = [];
  for (const format of formats) {
    const rows = readable(elf, orc, format);
    if (!rows) continue;
    const same = groups.find(([first]) => saySame(first.rows, rows));
    if (same) same.push({ format, rows });
    else groups.push([{ format, rows }]);
  }
  return groups;
}

/** Undefined where an entry goes by a register that the format has not. */
function readable(elf: ElfObject, orc: OrcPort, format: OrcFormat): OrcRows | undefined {
  try {
    return readOrcAs(elf, orc, format);
  } catch (error) {
    if (error instanceof ElfError) return undefined;
    throw error;
  }
}

const saySame = (a: OrcRows, b: OrcRows): boolean => a.flags.every((flags, i) => flags === b.flags[i]);

/**
 * The format of `formats` that execution bears out; undefined where it bears out none, or there is no choice.
 * @throws ElfError, EngineError as a check does
 */
export function formatBorneOut(
  guest: CheckGuest,
  elf: ElfObject,
  orc: OrcPort,
  formats: readonly OrcFormat[],
): KnownFormat | undefined {
  const readings = readingsOf(elf, orc, formats);
  if (readings.length < 2) return undefined;
  const [[{ rows }]] = readings;
  const places = somePlaces(rows);
  const right: Record<OrcFormat, number> = {};
  let asked = 0;
  for (const [{ format, rows: own }] of readings) {
    const checker = new ObjectChecker(guest, elf, { unwinder: 'orc', orc: own, format });
    const verdicts = places.flatMap((row) => {
      const section = elf.sections[rows.section[row]];
      return checker.proveAt(section.name, rows.offset[row])?.verdict ?? [];
    });
    asked = Math.max(asked, verdicts.length);
    right[format] = verdicts.filter((verdict) => verdict === 'right').length;
  }
  const [best, second] = [...readings].sort((a, b) => right[b[0].format] - right[a[0].format]);
  const [won, lost] = [right[best[0].format], right[second[0].format]];
  if (won === lost || won * 2 < asked) return undefined;
  const or = best[1]?.format;
  return { format: best[0].format, by: 'execution', ...(or ? { or } : {}), borneOut: { asked, right } };
}

/** Rows that have an answer, spread over the table. */
function somePlaces(rows: OrcRows): number[] {
  const all: number[] = [];
  for (let i = 0; i < rows.count; i++) if (!isWeakTerminator(rows.flags[i])) all.push(i);
  const step = Math.max(1, all.length / MOST_PLACES);
  return Array.from({ length: Math.ceil(all.length / step) }, (_, i) => all[Math.floor(i * step)]);
}
