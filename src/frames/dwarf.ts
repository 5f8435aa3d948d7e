// Call frame information of DWARF: `.eh_frame` and `.debug_frame` of objects that are not linked, or no more
// (src/objtool/vmlinux.ts).
// Mirrors DWARF 5, 6.4, and for .eh_frame the Linux Standard Base's "Exception Frames".
//
// Invariant: every entry lies within its section, every function within its text, and no two overlap; programs are
// read to their end before anything is made of them.

import { SHT_NOBITS } from '../elf/constants.ts';
import type { ElfObject, ElfSection } from '../elf/elf_object.ts';
import { type CommonEntry, DwarfFunction, initialState } from './dwarf_program.ts';
import type { FrameRegisters, FunctionFrames, ObjectFrames } from './rows.ts';
import { RelocatedSection, SectionReader } from './section_reader.ts';

/** The two kinds of sections, the one that programs have at run time first. */
const KINDS = [
  { name: '.eh_frame', isEh: true, versions: [1, 3] },
  { name: '.debug_frame', isEh: false, versions: [1, 3, 4] },
] as const;
type Kind = (typeof KINDS)[number];

const LONG = 0xffffffff;
/** DW_EH_PE_*: in the low half how a value is written, above it what it is relative to. */
const FORMATS: Readonly<Record<number, readonly [size: number, signed: boolean]>> = {
  0: [8, false],
  2: [2, false],
  3: [4, false],
  4: [8, false],
  10: [2, true],
  11: [4, true],
  12: [8, true],
};
const PE_PCREL = 0x10;
const PE_RELATIVE = 0x70;
const PE_INDIRECT = 0x80;
const PE_ABSOLUTE = 0x00;
const ADDRESS = 8;

/** Where an entry is and whether it is a CIE; `id` is where its first field is. */
interface Entry {
  readonly at: number;
  readonly id: number;
  readonly idSize: 4 | 8;
  readonly end: number;
  readonly isCommon: boolean;
}

/** undefined where the object has no such table. @throws ElfError */
export function readDwarfFrames(elf: ElfObject, registers: FrameRegisters): ObjectFrames | undefined {
  const functions: FunctionFrames[] = [];
  let bytes = 0;
  for (const kind of KINDS) {
    const found: FunctionFrames[] = [];
    for (const section of elf.sectionsNamed(kind.name)) {
      if (section.type === SHT_NOBITS || section.size === 0) continue;
      found.push(...new SectionEntries(elf, section, kind, registers).functions());
      bytes += section.size;
    }
    // What the one has, the other need not have.
    const known = new Set(functions.map(({ section, start }) => `${section} ${start}`));
    functions.push(...found.filter(({ section, start }) => !known.has(`${section} ${start}`)));
  }
  return bytes === 0 ? undefined : { format: 'DWARF', functions, bytes, registers };
}

class SectionEntries {
  readonly #from: RelocatedSection;
  readonly #kind: Kind;
  readonly #registers: FrameRegisters;
  readonly #common = new Map<number, CommonEntry>();

  constructor(elf: ElfObject, section: ElfSection, kind: Kind, registers: FrameRegisters) {
    this.#from = new RelocatedSection(elf, section);
    this.#kind = kind;
    this.#registers = registers;
  }

  functions(): FunctionFrames[] {
    const entries = this.#entries();
    for (const entry of entries) if (entry.isCommon) this.#common.set(entry.at, this.#commonEntry(entry));
    return entries.filter(({ isCommon }) => !isCommon).flatMap((entry) => this.#function(entry) ?? []);
  }

  #entries(): Entry[] {
    const { section } = this.#from;
    const reader = new SectionReader(this.#from, 0, section.size);
    const entries: Entry[] = [];
    while (!reader.done) {
      const { at } = reader;
      const short = reader.u32();
      const idSize = short === LONG ? 8 : 4;
      const length = short === LONG ? reader.integer(8, false) : short;
      // A length of 0 ends .eh_frame; what the linker put together has one in the middle as well.
      if (length === 0 && this.#kind.isEh) continue;
      if (length < idSize || length > section.size - reader.at) {
        throw reader.error(`entry of ${length} bytes`, at);
      }
      const id = reader.at;
      const end = id + length;
      const isCommon = this.#isCommon(reader, idSize);
      entries.push({ at, id, idSize: this.#kind.isEh ? 4 : idSize, end, isCommon });
      reader.at = end;
    }
    return entries;
  }

  #isCommon(reader: SectionReader, size: 4 | 8): boolean {
    if (this.#kind.isEh) return reader.u32() === 0;
    const view = this.#from.view;
    const at = reader.take(size);
    if (this.#from.hasRelocation(at)) return false;
    return size === 4
      ? view.getUint32(at, true) === LONG
      : view.getBigUint64(at, true) === 0xffffffffffffffffn;
  }

  #commonEntry({ at, id, idSize, end }: Entry): CommonEntry {
    const reader = new SectionReader(this.#from, id + idSize, end);
    const version = reader.u8();
    if (!(this.#kind.versions as readonly number[]).includes(version)) {
      throw reader.error(`CIE of version ${version}`, reader.at - 1);
    }
    const augmentation = reader.string();
    if (version >= 4) this.#addresses(reader);
    const codeAlign = reader.uleb();
    const dataAlign = reader.sleb();
    if (codeAlign === 0) throw reader.error('CIE with a code alignment of 0', at);
    const returnAddress = version === 1 ? reader.u8() : reader.uleb();
    if (returnAddress >= this.#registers.names.length) {
      throw reader.error(`CIE with the return address in register ${returnAddress}`, at);
    }
    const said = this.#augmentation(reader, augmentation, at);
    const common = { codeAlign, dataAlign, returnAddress, ...said };
    return { ...common, initial: initialState(this.#from, common, { at: reader.at, end }, this.#registers) };
  }

  #addresses(reader: SectionReader): void {
    const [address, segment] = [reader.u8(), reader.u8()];
    if (address !== ADDRESS || segment !== 0) {
      throw reader.error(`CIE with addresses of ${address} bytes and segments of ${segment}`, reader.at - 2);
    }
  }

  #augmentation(
    reader: SectionReader,
    text: string,
    at: number,
  ): Pick<CommonEntry, 'encoding' | 'signal' | 'sized'> {
    let [encoding, signal] = [PE_ABSOLUTE, false];
    if (text === '') return { encoding, signal, sized: false };
    const unknown = (): never => {
      throw reader.error(`CIE with the augmentation '${printable(text)}'`, at);
    };
    if (text[0] !== 'z') {
      // Without a length nothing says where what is unknown ends.
      if (text === 'S') return { encoding, signal: true, sized: false };
      return unknown();
    }
    const size = reader.uleb();
    const end = reader.at + size;
    if (end > reader.end) throw reader.error(`CIE with ${size} bytes of augmentation`, at);
    const data = new SectionReader(this.#from, reader.at, end);
    for (const letter of text.slice(1)) {
      if (letter === 'R') encoding = data.u8();
      else if (letter === 'S') signal = true;
      else if (letter === 'P') data.take(formatOf(data, data.u8())[0]);
      else if (letter === 'L') data.u8();
      else unknown();
    }
    reader.at = end;
    return { encoding, signal, sized: true };
  }

  #function({ at, id, idSize, end }: Entry): FunctionFrames | undefined {
    const common = this.#common.get(this.#commonOf(id, idSize));
    if (!common) throw this.#from.error('FDE that leads to no CIE', at);
    const reader = new SectionReader(this.#from, id + idSize, end);
    const { encoding } = common;
    const [width] = formatOf(reader, encoding);
    const relative = encoding & PE_RELATIVE;
    if ((relative !== PE_ABSOLUTE && relative !== PE_PCREL) || encoding & PE_INDIRECT) {
      throw reader.error(`FDE with addresses of the encoding 0x${encoding.toString(16)}`);
    }
    const start = reader.take(width);
    const size = reader.integer(width, false);
    // Of code that the linker threw away the place is 0.
    if (!this.#from.hasRelocation(start) && isZero(this.#from.bytes, start, width)) return undefined;
    const target = this.#from.target(start, width, relative === PE_PCREL, 'start of a function');
    if (size > target.section.size - target.offset) {
      throw reader.error(`function of ${size} bytes runs out of ${target.section.name}`, at);
    }
    if (common.sized) reader.take(reader.uleb());
    // Of code that was thrown away.
    if (size === 0) return undefined;
    const program = { at: reader.at, end };
    const place = { section: target.section.index, start: target.offset, size, at };
    return new DwarfFunction(this.#from, place, common, program, this.#registers);
  }

  /** Where the CIE is that an FDE goes with. */
  #commonOf(id: number, size: 4 | 8): number {
    if (this.#kind.isEh) return id - this.#from.view.getUint32(id, true);
    if (this.#from.hasRelocation(id)) {
      const { section, offset } = this.#from.target(id, size, false, 'CIE of an FDE');
      return section === this.#from.section ? offset : -1;
    }
    return new SectionReader(this.#from, id, id + size).integer(size, false);
  }
}

function formatOf(reader: SectionReader, encoding: number): readonly [size: number, signed: boolean] {
  const format = FORMATS[encoding & 0xf];
  if (!format) throw reader.error(`addresses of the encoding 0x${encoding.toString(16)}`);
  return format;
}

const isZero = (bytes: Uint8Array, at: number, size: number): boolean =>
  bytes.subarray(at, at + size).every((byte) => byte === 0);

const printable = (text: string): string => text.replace(/[^ -~]/g, '?').slice(0, 20);
