// SFrame tables, versions 2 and 3, of objects before they are linked, as binutils 2.41 and later write them.
// Mirrors the specification ("The SFrame Format", of binutils' libsframe) and, of what is refused, kernel/unwind/sframe.c
// of the kernel's proposals.
//
// Invariant: a table is read only if all of its functions can be; what it claims is held against the bytes that are
// there before anything is made of it.

import type { ElfObject, ElfSection } from '../elf/elf_object.ts';
import type { FrameRegisters, FunctionFrames, ObjectFrames } from './rows.ts';
import { RelocatedSection, SectionReader, type Target } from './section_reader.ts';
import { type FunctionData, SFrameFunction } from './sframe_rows.ts';

/** What the port says of its tables. */
export interface SFrameAbi {
  /** SFRAME_ABI_* */
  readonly number: number;
  readonly name: string;
}

const SECTION = '.sframe';
const MAGIC = 0xdee2;
const HEADER = 28;

const F_FDE_SORTED = 0x1;
const F_FRAME_POINTER = 0x2;
const F_FUNC_START_PCREL = 0x4;

const INFO_FRE_TYPE = 0xf;
const INFO_PC_MASK = 0x10;
const INFO_SIGNAL = 0x80;
const INFO2_FDE_TYPE = 0x1f;
const FDE_DEFAULT = 0;
const FDE_FLEXIBLE = 1;
/** SFRAME_FRE_TYPE_ADDR1, 2, 4: bytes of a row's start. */
const START_SIZES = [1, 2, 4];

interface Version {
  readonly flags: number;
  /** Bytes of an entry in the index of functions, and of its first field. */
  readonly entry: number;
  readonly start: 4 | 8;
  read(entry: SectionReader, rows: RowArea): Omit<FunctionData, 'start'>;
}

/** Where the rows of all functions lie. */
interface RowArea {
  readonly start: number;
  readonly end: number;
  readonly from: RelocatedSection;
}

const VERSIONS: Readonly<Record<number, Version>> = {
  2: {
    flags: F_FDE_SORTED | F_FRAME_POINTER | F_FUNC_START_PCREL,
    entry: 20,
    start: 4,
    read(entry, rows) {
      const size = entry.u32();
      const at = rowsAt(entry, rows, entry.u32());
      const count = entry.u32();
      const info = entry.u8();
      const block = entry.u8();
      return { size, rowsAt: at, count, ...encoding(entry, info, block), flexible: false, signal: false };
    },
  },
  3: {
    flags: F_FDE_SORTED | F_FUNC_START_PCREL,
    entry: 16,
    start: 8,
    read(entry, rows) {
      const size = entry.u32();
      const attributes = new SectionReader(rows.from, rowsAt(entry, rows, entry.u32()), rows.end);
      const count = attributes.u16();
      const info = attributes.u8();
      const type = attributes.u8() & INFO2_FDE_TYPE;
      const block = attributes.u8();
      if (type !== FDE_DEFAULT && type !== FDE_FLEXIBLE) {
        throw attributes.error(`function of type ${type}, which is unknown`, attributes.at - 2);
      }
      return {
        size,
        rowsAt: attributes.at,
        count,
        ...encoding(attributes, info, block),
        flexible: type === FDE_FLEXIBLE,
        signal: (info & INFO_SIGNAL) !== 0,
      };
    },
  },
};

function rowsAt(entry: SectionReader, { start, end }: RowArea, offset: number): number {
  if (start + offset > end)
    throw entry.error('rows of a function outside of those of the table', entry.at - 4);
  return start + offset;
}

function encoding(
  reader: SectionReader,
  info: number,
  block: number,
): Pick<FunctionData, 'startSize' | 'block'> {
  const startSize = START_SIZES[info & INFO_FRE_TYPE];
  if (startSize === undefined) {
    throw reader.error(`rows of type ${info & INFO_FRE_TYPE}, which is unknown`, reader.at - 1);
  }
  const repeats = (info & INFO_PC_MASK) !== 0;
  if (repeats && block === 0) throw reader.error('code that repeats itself after 0 bytes', reader.at - 1);
  return { startSize, block: repeats ? block : 0 };
}

/** undefined where the object has no such table. @throws ElfError */
export function readSFrame(
  elf: ElfObject,
  abi: SFrameAbi,
  registers: FrameRegisters,
): ObjectFrames | undefined {
  const sections = elf.sectionsNamed(SECTION).filter((section) => elf.data(section).length > 0);
  if (sections.length === 0) return undefined;
  const functions: FunctionFrames[] = [];
  const versions = new Set<number>();
  let bytes = 0;
  for (const section of sections) {
    const reader = new TableReader(elf, section, abi, registers);
    functions.push(...reader.functions());
    versions.add(reader.version);
    bytes += section.size;
  }
  return { format: `SFrame ${[...versions].join(' and ')}`, functions, bytes, registers };
}

class TableReader {
  /** Once it is read. */
  version = 0;
  readonly #from: RelocatedSection;
  readonly #registers: FrameRegisters;
  readonly #abi: SFrameAbi;

  constructor(elf: ElfObject, section: ElfSection, abi: SFrameAbi, registers: FrameRegisters) {
    this.#from = new RelocatedSection(elf, section);
    this.#registers = registers;
    this.#abi = abi;
  }

  functions(): FunctionFrames[] {
    const { size } = this.#from.section;
    const header = new SectionReader(this.#from, 0, size);
    const version = this.#preamble(header);
    const abi = header.u8();
    if (abi !== this.#abi.number)
      throw header.error(`SFrame of ABI ${abi}, not ${this.#abi.name}`, header.at - 1);
    const fixed = { fp: header.integer(1, true), returnAddress: header.integer(1, true) };
    const auxiliary = header.u8();
    const [count, rowCount, rowBytes, index, rows] = Array.from({ length: 5 }, () => header.u32());
    const base = HEADER + auxiliary;
    const area = { start: base + rows, end: base + rows + rowBytes, from: this.#from };
    // The smallest row is of two bytes.
    if (2 * rowCount > rowBytes) throw header.error(`${rowCount} SFrame rows in ${rowBytes} bytes`, 12);
    if (area.end > size) throw header.error('SFrame rows run out of the section', 16);
    if (base + index + count * version.entry > size) {
      throw header.error(`${count} SFrame functions run out of the section`, 8);
    }
    const found: FunctionFrames[] = [];
    let claimed = 0;
    for (let i = 0; i < count; i++) {
      const at = base + index + i * version.entry;
      const entry = new SectionReader(this.#from, at, at + version.entry);
      const start = this.#start(entry, version);
      const data = version.read(entry, area);
      claimed += data.count;
      if (claimed > rowCount) throw this.#from.error(`more rows than the ${rowCount} of the header`, at);
      if (start.offset + data.size > start.section.size) {
        throw this.#from.error(`function of ${data.size} bytes runs out of ${start.section.name}`, at);
      }
      found.push(new SFrameFunction(this.#from, at, area.end, { ...data, start }, fixed, this.#registers));
    }
    return found;
  }

  #preamble(header: SectionReader): Version {
    const magic = header.u16();
    if (magic === ((MAGIC >> 8) | ((MAGIC & 0xff) << 8))) {
      throw header.error('SFrame of the other byte order', 0);
    }
    if (magic !== MAGIC) throw header.error(`not SFrame: magic 0x${magic.toString(16)}`, 0);
    const number = header.u8();
    const version = VERSIONS[number];
    if (!version) {
      const known = Object.keys(VERSIONS).join(' and ');
      throw header.error(`SFrame version ${number}; versions ${known} are known`, 2);
    }
    this.version = number;
    const flags = header.u8();
    const unknown = flags & ~version.flags;
    if (unknown !== 0) throw header.error(`SFrame with unknown flags 0x${unknown.toString(16)}`, 3);
    return version;
  }

  /** Before linking the field's relocation says where a function is, whatever the table counts from. */
  #start(entry: SectionReader, { start }: Version): Target {
    return this.#from.target(entry.take(start), start, true, 'start of a function');
  }
}
