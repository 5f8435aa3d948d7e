// Which layout the ORC table of an object has, and how that is known.
// A module of 6.3 and later has the hash of its kernel's layout in .orc_header (scripts/orc_hash.sh), a module of any
// kernel its version; an object before the last link has neither.
//
// Invariant: a table is never read by guess. What is told by header, version or user and contradicts the entries is an
// error, as is what nothing tells.

import type { ElfObject } from '../elf/elf_object.ts';
import { ORC_ENTRY_SIZE } from '../elf/orc.ts';
import { kernelVersion } from './elf_input.ts';
import { readOrcAs } from './orc_format.ts';
import { ORC_FORMATS, type OrcFormat } from './orc_formats.ts';
import type { OrcRows } from './orc_rows.ts';

export interface KnownFormat {
  readonly format: OrcFormat;
  /** How it is known. */
  readonly by: 'option' | 'header' | 'version' | 'entries';
  /** Another one in which the entries say the same. */
  readonly or?: OrcFormat;
}

/** What .orc_header holds: a hash of the definitions in orc_types.h, the same for all kernels with one layout. */
const HASHES: ReadonlyMap<string, OrcFormat> = new Map([
  ['db84aed4103b31dd51e017f8f79783ca985c2c51', '6.3'],
  ['fe5d32bf581bd63b2ca9a5c65ba5a625eab3fe24', '6.4'],
  ['137c36ad7627c4dd55932176bb0ecdbd5041fc82', '7.2'],
]);
const HEADER = '.orc_header';
const CHOICE = `--format says how to read the table (${ORC_FORMATS.join(', ')})`;

/**
 * The format of an object's table. `wanted`: what the user says it is. Undefined where there is no table and nothing
 * that tells. @throws ElfError where there is a table of which it is not known how to read it
 */
export function orcFormatOf(elf: ElfObject, wanted?: OrcFormat): KnownFormat | undefined {
  const entries = Entries.of(elf);
  const said = wanted === undefined ? toldBy(elf, entries) : byUser(elf, wanted);
  if (said) {
    if (entries) confirm(elf, said, entries);
    return said;
  }
  if (!entries || entries.count === 0) return undefined;
  const [format, or] = entries.formats();
  if (format) return { format, by: 'entries', ...(or ? { or } : {}) };
  throw elf.error(`no ${HEADER}, no version, and no entry that tells its ORC format: ${CHOICE}`);
}

/** The object's own table; undefined where it has none. @throws ElfError */
export function readOrc(elf: ElfObject, wanted?: OrcFormat): OrcRows | undefined {
  const known = orcFormatOf(elf, wanted);
  // Without anything that tells there are no entries either.
  return readOrcAs(elf, known?.format ?? '6.1');
}

/** The format for a table that is written into the object in place of its own. @throws ElfError */
export function orcFormatToWrite(elf: ElfObject, wanted: OrcFormat): KnownFormat {
  return byUser(elf, wanted);
}

function byUser(elf: ElfObject, wanted: OrcFormat): KnownFormat {
  const header = elf.section(HEADER);
  const own = header && HASHES.get(hashOf(elf));
  if (own && own !== wanted) {
    throw elf.error(`its ${HEADER} is that of the ${own} format, not of ${wanted}`);
  }
  return { format: wanted, by: 'option' };
}

function toldBy(elf: ElfObject, entries: Entries | undefined): KnownFormat | undefined {
  if (elf.section(HEADER)) {
    const format = HASHES.get(hashOf(elf));
    if (format) return { format, by: 'header' };
    if (!entries) return undefined;
    throw elf.error(`${HEADER} has the hash of no ORC format that is known (${hashOf(elf)}): ${CHOICE}`);
  }
  const version = kernelVersion(elf);
  // Those of 6.4 and later have a header; which layout one without it has its version does not say.
  if (version === undefined || version >= 604) return undefined;
  return { format: version === 603 ? '6.3' : '6.1', by: 'version' };
}

function hashOf(elf: ElfObject): string {
  const header = elf.section(HEADER);
  return header ? Buffer.from(elf.data(header).subarray(0, MAX_HASH)).toString('hex') : '';
}

const MAX_HASH = 64;

/** A format in which no function could start, of a table in which functions start as another has it. */
function confirm(elf: ElfObject, { format, by }: KnownFormat, entries: Entries): void {
  if (entries.starts(format) > 0) return;
  const other = ORC_FORMATS.find((each) => entries.starts(each) > 0);
  if (!other) return;
  const whose = by === 'option' ? `not in the ${format} format` : `not in the ${format} format of its ${by}`;
  const way = by === 'option' ? '' : `: ${CHOICE}`;
  throw elf.error(`the entries of its ORC table are ${whose}, but in that of ${other}${way}`);
}

/** At the start of a function: the caller's stack pointer is sp+8, and rbp the caller's. */
const START_OFFSET = 8;
const STARTS: Readonly<Record<OrcFormat, number>> = { '6.1': 0x5, '6.3': 0x5, '6.4': 0x205, '7.2': 0x203 };

const BP_REGS = [0, 1, 4];
const BP_REGS_7_2 = [0, 4, 8];
const SP_REGS = [2, 3, 4, 5, 6, 7, 8, 9];
const SP_REGS_7_2 = [1, 2, 3, 4, 5, 6, 7, 9, 10];
const SIGNAL_6_3 = 0x400;
const END_6_1 = 0x400;
const END_6_3 = 0x800;

/** Whether a kernel's objtool could have made such an entry. */
const POSSIBLE: Readonly<Record<OrcFormat, (raw: number) => boolean>> = {
  '6.1': (raw) => raw < 0x800 && ((raw & 0xf) === 0 || (raw & END_6_1) === 0) && knows(raw),
  '6.3': (raw) => raw < 0x1000 && (raw & ((raw & 0xf) === 0 ? SIGNAL_6_3 : END_6_3)) === 0 && knows(raw),
  '6.4': (raw) => isOf64(raw) && knows(raw),
  '7.2': (raw) => isOf64(raw) && knows(raw, SP_REGS_7_2, BP_REGS_7_2),
};

function knows(raw: number, sp = SP_REGS, bp = BP_REGS): boolean {
  const spReg = raw & 0xf;
  return (spReg === 0 || sp.includes(spReg)) && bp.includes((raw >> 4) & 0xf);
}

/** Types without a stack pointer, then those with one. */
function isOf64(raw: number): boolean {
  const type = (raw >> 8) & 7;
  return raw < 0x1000 && type <= 4 && type < 2 === ((raw & 0xf) === 0);
}

/** Offsets and bits of the entries, as they lie in the file. */
class Entries {
  readonly #view: DataView;

  static of(elf: ElfObject): Entries | undefined {
    const section = elf.lastSection('.orc_unwind');
    return section && elf.lastSection('.orc_unwind_ip') ? new Entries(elf.view(section)) : undefined;
  }

  private constructor(view: DataView) {
    this.#view = view;
  }

  get count(): number {
    return Math.floor(this.#view.byteLength / ORC_ENTRY_SIZE);
  }

  #bits(i: number): number {
    return this.#view.getUint16(i * ORC_ENTRY_SIZE + 4, true);
  }

  /** Those that say what is true at a function's start. A large table shows it soon. */
  starts(format: OrcFormat, enough = MOST_LOOKED_AT): number {
    const bits = STARTS[format];
    const end = Math.min(this.count, enough);
    let found = 0;
    for (let i = 0; i < end; i++) {
      if (this.#bits(i) === bits && this.#view.getInt16(i * ORC_ENTRY_SIZE, true) === START_OFFSET) found++;
    }
    return found;
  }

  /** The formats that all entries are possible in, and in which functions start as they do. */
  formats(): OrcFormat[] {
    const all = Array.from({ length: this.count }, (_, i) => this.#bits(i));
    return ORC_FORMATS.filter((f) => this.starts(f, this.count) > 0 && all.every(POSSIBLE[f]));
  }
}

const MOST_LOOKED_AT = 4096;
