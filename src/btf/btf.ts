// BTF: the types of a kernel or a module, as it carries them itself. Types are numbers; void is 0.
// Mirrors kernel/bpf/btf.c and Documentation/bpf/btf.rst.
//
// Invariants: a Btf that was made has only types that lie whole in its section, with names in its strings; what types say
// of each other is checked where it is followed, since they may name themselves: no walk is longer than MOST_STEPS.

import { ElfError } from '../elf/error.ts';
import { EXTRA, KIND, MODIFIERS } from './kinds.ts';

const MAGIC = 0xeb9f;
const VERSION = 1;
const HEADER_SIZE = 24;
const TYPE_SIZE = 12;
/** How often one type may lead to another before it is taken for a circle. */
const MOST_STEPS = 64;

interface BtfMember {
  readonly name: string;
  readonly type: number;
  /** In bits, from the beginning of its structure. */
  readonly offset: number;
  /** In bits, of a bit field; 0 for any other. */
  readonly width: number;
}

interface BtfEnumerator {
  readonly name: string;
  readonly value: bigint;
}

interface BtfParameter {
  readonly name: string;
  readonly type: number;
}

/** Where it was read, for errors. */
interface BtfSource {
  readonly file: string;
  readonly section?: string;
}

export class Btf {
  readonly source: BtfSource;
  /** Types, those of the base included, and void. */
  readonly count: number;
  /** What a module's types go on from. */
  readonly base: Btf | undefined;
  readonly #bytes: Uint8Array;
  readonly #view: DataView;
  /** Of each type that is not the base's, where it begins. */
  readonly #starts: Uint32Array;
  readonly #first: number;
  readonly #stringsAt: number;
  readonly #stringsLength: number;
  readonly #stringsFirst: number;

  /** @param base the kernel's, for a module's. @throws ElfError */
  constructor(bytes: Uint8Array, source: BtfSource, base?: Btf) {
    this.source = source;
    this.base = base;
    this.#bytes = bytes;
    this.#view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    const { types, strings } = this.#header();
    this.#stringsAt = strings.start;
    this.#stringsLength = strings.length;
    this.#stringsFirst = base ? base.#stringsFirst + base.#stringsLength : 0;
    this.#first = base ? base.count : 1;
    this.#starts = this.#findTypes(types.start, types.start + types.length);
    this.count = this.#first + this.#starts.length;
  }

  #header() {
    const bytes = this.#bytes;
    const view = this.#view;
    if (bytes.length < HEADER_SIZE) throw this.error(`BTF of ${bytes.length} bytes, less than its header`);
    if (view.getUint16(0, true) !== MAGIC) throw this.error('no BTF: its magic is another', 0);
    if (bytes[2] !== VERSION) throw this.error(`BTF version ${bytes[2]}, not ${VERSION}`, 2);
    const size = view.getUint32(4, true);
    if (size < HEADER_SIZE || size > bytes.length) throw this.error(`a BTF header of ${size} bytes`, 4);
    const part = (name: string, at: number) => {
      const [start, length] = [size + view.getUint32(at, true), view.getUint32(at + 4, true)];
      if (start + length <= bytes.length) return { start, length };
      throw this.error(`BTF's ${name}, ${length} bytes, end outside of it`, at);
    };
    const types = part('types', 8);
    const strings = part('strings', 16);
    if (types.start % 4 !== 0) throw this.error("BTF's types do not lie at words", 8);
    const end = strings.start + strings.length;
    if (!this.base && strings.length > 0 && bytes[strings.start] !== 0)
      throw this.error("these types go on from a kernel's, without which they say nothing", strings.start);
    if (strings.length > 0 && bytes[end - 1] !== 0) throw this.error("BTF's strings do not end", end - 1);
    return { types, strings };
  }

  #findTypes(start: number, end: number): Uint32Array {
    const starts = new Uint32Array(Math.floor((end - start) / TYPE_SIZE));
    const strings = this.#stringsFirst + this.#stringsLength;
    let count = 0;
    for (let at = start; at < end; ) {
      const kind = this.#kindAt(at);
      const extra = EXTRA.get(kind);
      if (!extra) throw this.error(`type ${this.#first + count} is of kind ${kind}, which is not known`, at);
      const size = TYPE_SIZE + extra[0] + extra[1] * this.#partsAt(at);
      if (at + size > end) throw this.error(`type ${this.#first + count} is longer than the types`, at);
      if (this.#view.getUint32(at, true) >= strings && this.#view.getUint32(at, true) !== 0)
        throw this.error(`type ${this.#first + count} has its name outside of the strings`, at);
      starts[count++] = at;
      at += size;
    }
    return starts.slice(0, count);
  }

  #kindAt(at: number): number {
    return (this.#view.getUint32(at + 4, true) >>> 24) & 0x1f;
  }

  #partsAt(at: number): number {
    return this.#view.getUint32(at + 4, true) & 0xffff;
  }

  error(reason: string, offset?: number): ElfError {
    const { file, section } = this.source;
    return new ElfError(file, reason, { section, offset });
  }

  /** Whose type it is, and where it begins there. @throws ElfError */
  #place(type: number): readonly [Btf, number] {
    if (type < this.#first && this.base) return this.base.#place(type);
    const at = type < this.#first ? undefined : this.#starts[type - this.#first];
    if (at === undefined) throw this.error(`a type is named that is not there: ${type}`);
    return [this, at];
  }

  /** KIND. */
  kind(type: number): number {
    if (type === 0) return KIND.void;
    const [btf, at] = this.#place(type);
    return btf.#kindAt(at);
  }

  /** Empty for what has none. */
  name(type: number): string {
    if (type === 0) return 'void';
    const [btf, at] = this.#place(type);
    return btf.#string(btf.#view.getUint32(at, true));
  }

  #string(offset: number): string {
    if (this.base && offset < this.#stringsFirst) return this.base.#string(offset);
    const from = offset - this.#stringsFirst;
    if (from >= this.#stringsLength) {
      if (offset === 0) return '';
      throw this.error(`a name lies outside of the strings: ${offset}`);
    }
    const start = this.#stringsAt + from;
    const end = this.#bytes.indexOf(0, start);
    return Buffer.from(this.#bytes.buffer, this.#bytes.byteOffset + start, end - start).toString('utf8');
  }

  /** Types of these kinds that have that name, in order: a kernel may have several of one. */
  named(name: string, ...kinds: readonly number[]): number[] {
    const found = this.base?.named(name, ...kinds) ?? [];
    const offsets = this.#offsetsOf(name);
    this.#starts.forEach((at, i) => {
      if (offsets.has(this.#view.getUint32(at, true)) && kinds.includes(this.#kindAt(at)))
        found.push(this.#first + i);
    });
    return found;
  }

  /** Wherever in the strings it stands, at the end of a longer one too. */
  #offsetsOf(name: string): ReadonlySet<number> {
    const offsets = new Set<number>();
    if (name === '' || name.includes('\0')) return offsets;
    if (this.base) for (const offset of this.base.#offsetsOf(name)) offsets.add(offset);
    const { buffer, byteOffset } = this.#bytes;
    const strings = Buffer.from(buffer, byteOffset + this.#stringsAt, this.#stringsLength);
    const wanted = Buffer.from(`${name}\0`);
    for (let at = strings.indexOf(wanted); at >= 0; at = strings.indexOf(wanted, at + 1))
      offsets.add(this.#stringsFirst + at);
    return offsets;
  }

  /** All types of these kinds, those of the base first. */
  ofKinds(...kinds: readonly number[]): number[] {
    const found = this.base?.ofKinds(...kinds) ?? [];
    this.#starts.forEach((at, i) => {
      if (kinds.includes(this.#kindAt(at))) found.push(this.#first + i);
    });
    return found;
  }

  /** What a pointer, an array, a typedef, a modifier, a function or a variable is of. */
  target(type: number): number {
    const [btf, at] = this.#place(type);
    const kind = btf.#kindAt(at);
    return btf.#view.getUint32(kind === KIND.array ? at + TYPE_SIZE : at + 8, true);
  }

  /** How many elements an array has. */
  elements(type: number): number {
    const [btf, at] = this.#place(type);
    return btf.#view.getUint32(at + TYPE_SIZE + 8, true);
  }

  /** Without typedefs and modifiers. @throws ElfError where they go in a circle */
  resolved(type: number): number {
    let at = type;
    for (let steps = 0; steps < MOST_STEPS; steps++) {
      const kind = this.kind(at);
      if (kind !== KIND.typedef && !MODIFIERS.has(kind)) return at;
      at = this.target(at);
    }
    throw this.error(`type ${type} leads to itself, or through more than ${MOST_STEPS} others`);
  }

  /** In bytes; 0 for what has none. @throws ElfError */
  size(type: number): number {
    let factor = 1;
    let at = type;
    for (let steps = 0; steps < MOST_STEPS; steps++) {
      at = this.resolved(at);
      const kind = this.kind(at);
      if (kind === KIND.ptr) return this.#sized(type, factor * POINTER);
      if (kind === KIND.array) {
        factor *= this.elements(at);
        at = this.target(at);
      } else if (kind === KIND.var) at = this.target(at);
      else if (!SIZED.has(kind)) return 0;
      else {
        const [btf, place] = this.#place(at);
        return this.#sized(type, factor * btf.#view.getUint32(place + 8, true));
      }
    }
    throw this.error(`type ${type} is made of itself, or of more than ${MOST_STEPS} others`);
  }

  #sized(type: number, size: number): number {
    if (size <= 2 ** 32) return size;
    throw this.error(`type ${type} claims ${size} bytes`);
  }

  /** Of a structure or union. @throws ElfError */
  members(type: number): BtfMember[] {
    const [btf, at] = this.#place(type);
    const view = btf.#view;
    // Then the upper byte of an offset is the width of a bit field.
    const flagged = view.getUint32(at + 4, true) >>> 31 !== 0;
    return Array.from({ length: btf.#partsAt(at) }, (_, i) => {
      const place = at + TYPE_SIZE + 12 * i;
      const stored = view.getUint32(place + 8, true);
      const member = view.getUint32(place + 4, true);
      const bits = flagged ? stored >>> 24 : 0;
      const [width, within] = flagged ? [bits, 0] : this.#oldBitField(member);
      return {
        name: btf.#string(view.getUint32(place, true)),
        type: member,
        offset: (flagged ? stored & 0xffffff : stored) + within,
        width,
      };
    });
  }

  /** Before the flag, a bit field was an integer of less bits than its bytes. */
  #oldBitField(type: number): readonly [width: number, within: number] {
    const at = this.resolved(type);
    if (this.kind(at) !== KIND.int) return [0, 0];
    const [btf, place] = this.#place(at);
    const encoding = btf.#view.getUint32(place + TYPE_SIZE, true);
    const bits = encoding & 0xff;
    return bits === 8 * btf.#view.getUint32(place + 8, true) ? [0, 0] : [bits, (encoding >>> 16) & 0xff];
  }

  enumerators(type: number): BtfEnumerator[] {
    const [btf, at] = this.#place(type);
    const view = btf.#view;
    const isSigned = view.getUint32(at + 4, true) >>> 31 !== 0;
    const isWide = btf.#kindAt(at) === KIND.enum64;
    return Array.from({ length: btf.#partsAt(at) }, (_, i) => {
      const place = at + TYPE_SIZE + (isWide ? 12 : 8) * i;
      const low = isSigned && !isWide ? view.getInt32(place + 4, true) : view.getUint32(place + 4, true);
      const high = isWide ? BigInt(view.getUint32(place + 8, true)) << 32n : 0n;
      const value = high | BigInt(low);
      return {
        name: btf.#string(view.getUint32(place, true)),
        value: isSigned && isWide ? BigInt.asIntN(64, value) : value,
      };
    });
  }

  /** Of a function's prototype. One without type and name stands for any that follow. */
  parameters(type: number): BtfParameter[] {
    const [btf, at] = this.#place(type);
    return Array.from({ length: btf.#partsAt(at) }, (_, i) => {
      const place = at + TYPE_SIZE + 8 * i;
      return {
        name: btf.#string(btf.#view.getUint32(place, true)),
        type: btf.#view.getUint32(place + 4, true),
      };
    });
  }

  /** Whether a forward declaration is of a union. */
  isUnion(type: number): boolean {
    const [btf, at] = this.#place(type);
    return btf.#view.getUint32(at + 4, true) >>> 31 !== 0;
  }
}

const POINTER = 8;
/** Kinds that have a size of their own. */
const SIZED: ReadonlySet<number> = new Set([
  KIND.int,
  KIND.struct,
  KIND.union,
  KIND.enum,
  KIND.enum64,
  KIND.float,
  KIND.datasec,
]);
