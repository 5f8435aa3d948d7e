// Names of a real kernel's 200,000 symbols as bytes of one array: found by their numbers, and numbers by names, without a
// string or an object for each of them.
//
// Invariant: what it is made of is plain columns, which can be kept on disk, and is not changed.

/** One byte a character. */
export interface NameColumns {
  readonly bytes: Uint8Array;
  /** Of each name where it begins, and of the last one where it ends. */
  readonly starts: Uint32Array;
  /** By the low bits of a name's hash the first that has them; -1 for none. */
  readonly heads: Int32Array;
  /** Behind each the next one with the same bits; -1 for none. */
  readonly next: Int32Array;
  /** Those that have a dot behind their beginning. */
  readonly dotted: Uint32Array;
}

const DOT = '.'.charCodeAt(0);

export class PackedNames implements Iterable<string> {
  readonly columns: NameColumns;
  readonly length: number;
  readonly #text: Buffer;

  constructor(columns: NameColumns) {
    const { bytes, starts } = columns;
    this.columns = columns;
    this.length = starts.length - 1;
    this.#text = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length);
  }

  /** @param name of a number below the count: of characters of one byte */
  static of(count: number, name: (i: number) => string): PackedNames {
    const starts = new Uint32Array(count + 1);
    const pieces = Array.from({ length: count }, (_, i) => name(i));
    for (let i = 0; i < count; i++) starts[i + 1] = starts[i] + pieces[i].length;
    const bytes = new Uint8Array(Buffer.from(pieces.join(''), 'latin1'));
    const heads = new Int32Array(2 ** Math.ceil(Math.log2(count + 1))).fill(-1);
    const next = new Int32Array(count);
    for (let i = count - 1; i >= 0; i--) {
      const bucket = hashOf(pieces[i]) & (heads.length - 1);
      next[i] = heads[bucket];
      heads[bucket] = i;
    }
    const dotted = pieces.flatMap((text, i) => (text.indexOf('.') > 0 ? [i] : []));
    return new PackedNames({ bytes, starts, heads, next, dotted: Uint32Array.from(dotted) });
  }

  at(i: number): string {
    const { starts } = this.columns;
    return this.#text.toString('latin1', starts[i], starts[i + 1]);
  }

  /** Numbers of a name, ascending. */
  numbers(name: string): number[] {
    const { heads, next } = this.columns;
    const found: number[] = [];
    for (let i = heads[hashOf(name) & (heads.length - 1)]; i >= 0; i = next[i])
      if (this.#is(i, name)) found.push(i);
    return found;
  }

  /** Numbers of names that are this stem, a dot, and more, ascending. */
  withStem(stem: string): number[] {
    const { bytes, starts, dotted } = this.columns;
    const behind = stem.length;
    const found: number[] = [];
    for (const i of dotted) {
      const dot = starts[i] + behind;
      if (dot < starts[i + 1] && bytes[dot] === DOT && this.#begins(i, stem)) found.push(i);
    }
    return found;
  }

  *[Symbol.iterator](): Iterator<string> {
    for (let i = 0; i < this.length; i++) yield this.at(i);
  }

  #is(i: number, name: string): boolean {
    const { starts } = this.columns;
    return starts[i + 1] - starts[i] === name.length && this.#begins(i, name);
  }

  #begins(i: number, text: string): boolean {
    const { bytes, starts } = this.columns;
    for (let k = 0; k < text.length; k++) if (bytes[starts[i] + k] !== text.charCodeAt(k)) return false;
    return true;
  }
}

/** FNV-1a */
function hashOf(name: string): number {
  let hash = 0x811c9dc5;
  for (let i = 0; i < name.length; i++) hash = Math.imul(hash ^ name.charCodeAt(i), 0x01000193);
  return hash ^ (hash >>> 16);
}
