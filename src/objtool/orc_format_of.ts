// Which layout the ORC table of an object has, and how that is known.
// A module of 6.3 and later has the hash of its kernel's layout in .orc_header (scripts/orc_hash.sh), a module of any
// kernel its version, a kernel its banner; an object before the last link has none of them.
//
// Invariant: a table is never read by guess. What is told by header, version or user and contradicts the entries is an
// error, as is what nothing tells. Of formats that the entries leave, src/check/borne_out.ts asks execution.

import type { OrcFormat, OrcFormatRule, OrcPort } from '../arch/orc.ts';
import type { ElfObject } from '../elf/elf_object.ts';
import { kernelVersion } from './elf_input.ts';
import { orcFormatRule, readOrcAs } from './orc_format.ts';
import type { OrcRows } from './orc_rows.ts';

export interface KnownFormat {
  readonly format: OrcFormat;
  /** How it is known. */
  readonly by: 'option' | 'header' | 'version' | 'entries' | 'execution';
  /** Another one in which the entries say the same. */
  readonly or?: OrcFormat;
  /** By execution: how many answers it was asked for, and by format how many of them it bears out. */
  readonly borneOut?: { readonly asked: number; readonly right: Readonly<Record<OrcFormat, number>> };
}

const HEADER = '.orc_header';
const choice = ({ formats }: OrcPort): string =>
  `--format says how to read the table (${[...formats.keys()].join(', ')})`;

/**
 * The format of an object's table. `wanted`: what the user says it is. Undefined where there is no table and nothing
 * that tells. @throws ElfError where there is a table of which it is not known how to read it
 */
export function orcFormatOf(elf: ElfObject, orc: OrcPort, wanted?: OrcFormat): KnownFormat | undefined {
  const entries = Entries.of(elf, orc);
  const said = wanted === undefined ? toldBy(elf, orc, entries) : byUser(elf, orc, wanted);
  if (said) {
    if (entries) confirm(elf, orc, said, entries);
    return said;
  }
  if (!entries || entries.isEmpty) return undefined;
  const [format, or] = entries.formats();
  if (format) return { format, by: 'entries', ...(or ? { or } : {}) };
  throw elf.error(`no ${HEADER}, no version, and no entry that tells its ORC format: ${choice(orc)}`);
}

/**
 * The formats that all entries are possible in, of an object in which nothing else tells: what else they say, only
 * execution does. @throws ElfError
 */
export function possibleOrcFormats(elf: ElfObject, orc: OrcPort): OrcFormat[] {
  const entries = Entries.of(elf, orc);
  return entries && !toldBy(elf, orc, entries) ? entries.possible() : [];
}

/** The object's own table; undefined where it has none. @throws ElfError */
export function readOrc(elf: ElfObject, orc: OrcPort, wanted?: OrcFormat): OrcRows | undefined {
  const known = orcFormatOf(elf, orc, wanted);
  // Without anything that tells there are no entries either.
  return readOrcAs(elf, orc, known?.format ?? orc.own);
}

/** The format for a table that is written into the object in place of its own. @throws ElfError */
export function orcFormatToWrite(elf: ElfObject, orc: OrcPort, wanted: OrcFormat): KnownFormat {
  return byUser(elf, orc, wanted);
}

function byUser(elf: ElfObject, orc: OrcPort, wanted: OrcFormat): KnownFormat {
  const own = elf.section(HEADER) && byHash(elf, orc);
  if (own && own !== wanted) {
    throw elf.error(`its ${HEADER} is that of the ${own} format, not of ${wanted}`);
  }
  return { format: wanted, by: 'option' };
}

function toldBy(elf: ElfObject, orc: OrcPort, entries: Entries | undefined): KnownFormat | undefined {
  if (elf.section(HEADER)) {
    const format = byHash(elf, orc);
    if (format) return { format, by: 'header' };
    if (!entries) return undefined;
    throw elf.error(`${HEADER} has the hash of no ORC format that is known (${hashOf(elf)}): ${choice(orc)}`);
  }
  const version = kernelVersion(elf);
  if (version === undefined) return undefined;
  const format = orc.byVersion(version);
  if (format) return { format, by: 'version' };
  if (!entries) return undefined;
  const kernel = `${Math.floor(version / 100)}.${version % 100}`;
  throw elf.error(`it is of ${kernel}, later than any kernel whose ORC format is known: ${choice(orc)}`);
}

/** .orc_header holds a hash of the definitions in orc_types.h, the same for all kernels with one layout. */
function byHash(elf: ElfObject, { formats }: OrcPort): OrcFormat | undefined {
  const hash = hashOf(elf);
  return [...formats].find(([, rule]) => rule.hash === hash)?.[0];
}

function hashOf(elf: ElfObject): string {
  const header = elf.section(HEADER);
  return header ? Buffer.from(elf.data(header).subarray(0, MAX_HASH)).toString('hex') : '';
}

const MAX_HASH = 64;

/** A format in which no function could start, of a table in which functions start as another has it. */
function confirm(elf: ElfObject, orc: OrcPort, { format, by }: KnownFormat, entries: Entries): void {
  if (entries.starts(orcFormatRule(orc, format)) > 0) return;
  const [other] = [...orc.formats].find(([, rule]) => entries.starts(rule) > 0) ?? [];
  if (!other) return;
  const whose = by === 'option' ? `not in the ${format} format` : `not in the ${format} format of its ${by}`;
  const way = by === 'option' ? '' : `: ${choice(orc)}`;
  throw elf.error(`the entries of its ORC table are ${whose}, but in that of ${other}${way}`);
}

/** The entries, as they lie in the file. */
class Entries {
  readonly #view: DataView;
  readonly #orc: OrcPort;

  static of(elf: ElfObject, orc: OrcPort): Entries | undefined {
    const section = elf.lastSection('.orc_unwind');
    return section && elf.lastSection('.orc_unwind_ip') ? new Entries(elf.view(section), orc) : undefined;
  }

  private constructor(view: DataView, orc: OrcPort) {
    this.#view = view;
    this.#orc = orc;
  }

  /** Not one whole entry. */
  get isEmpty(): boolean {
    return [...this.#orc.formats.values()].every((rule) => this.#count(rule) === 0);
  }

  #count({ size }: OrcFormatRule): number {
    return Math.floor(this.#view.byteLength / size);
  }

  /** Those that say what is true at a function's start. A large table shows it soon. */
  starts(rule: OrcFormatRule, enough = MOST_LOOKED_AT): number {
    const end = Math.min(this.#count(rule), enough);
    let found = 0;
    for (let i = 0; i < end; i++) if (rule.isStart(this.#view, i * rule.size)) found++;
    return found;
  }

  /** Those of them in which functions start as they do. */
  formats(): OrcFormat[] {
    return this.possible().filter((format) => {
      const rule = orcFormatRule(this.#orc, format);
      return this.starts(rule, this.#count(rule)) > 0;
    });
  }

  /** The formats that all entries are possible in. */
  possible(): OrcFormat[] {
    return [...this.#orc.formats].flatMap(([format, rule]) => (this.#fits(rule) ? [format] : []));
  }

  #fits(rule: OrcFormatRule): boolean {
    const count = this.#count(rule);
    for (let i = 0; i < count; i++) if (!rule.isPossible(this.#view, i * rule.size)) return false;
    return true;
  }
}

const MOST_LOOKED_AT = 4096;
