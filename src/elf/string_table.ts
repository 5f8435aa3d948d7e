// The strings of a string table: each is a part of one text, so that any number of them, however long and however much
// they overlap, takes no more memory than the table.

export class StringTable {
  readonly #text: string;
  /** Offsets of the NULs, ascending. */
  readonly #ends: Uint32Array;

  constructor(bytes: Uint8Array) {
    this.#text = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length).toString('latin1');
    const ends: number[] = [];
    for (let at = bytes.indexOf(0); at >= 0; at = bytes.indexOf(0, at + 1)) ends.push(at);
    this.#ends = Uint32Array.from(ends);
  }

  /** The string at an offset; undefined outside of the table, and where it does not end in it. */
  at(offset: number): string | undefined {
    const end = this.#endOf(offset);
    return end === undefined ? undefined : this.#text.slice(offset, end);
  }

  /** The first NUL that is not before an offset. */
  #endOf(offset: number): number | undefined {
    const ends = this.#ends;
    let [low, high] = [0, ends.length];
    while (low < high) {
      const middle = (low + high) >> 1;
      if (ends[middle] < offset) low = middle + 1;
      else high = middle;
    }
    return ends[low];
  }
}
