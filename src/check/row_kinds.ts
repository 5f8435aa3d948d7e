// Numbers for what rows of ORC say: the same in all objects of the process.
//
// Invariant: nothing is allocated for a row that says what another one said.

const ROOM = 1 << 12;

export class RowKinds {
  #flags = new Int32Array(ROOM);
  #offsets = new Int32Array(ROOM);
  /** One more than the kind; 0 where none is. */
  #kinds = new Int32Array(ROOM);
  #count = 0;

  /** `flags`: registers and type; `offsets`: both of them, 16 bits each. */
  kind(flags: number, offsets: number): number {
    const mask = this.#kinds.length - 1;
    let at = place(flags, offsets, mask);
    for (; this.#kinds[at] !== 0; at = (at + 1) & mask)
      if (this.#flags[at] === flags && this.#offsets[at] === offsets) return this.#kinds[at] - 1;
    return this.#add(at, flags, offsets);
  }

  #add(at: number, flags: number, offsets: number): number {
    this.#flags[at] = flags;
    this.#offsets[at] = offsets;
    this.#kinds[at] = ++this.#count;
    const kind = this.#count - 1;
    if (2 * this.#count > this.#kinds.length) this.#grow();
    return kind;
  }

  #grow(): void {
    const [flags, offsets, kinds] = [this.#flags, this.#offsets, this.#kinds];
    const room = 2 * kinds.length;
    this.#flags = new Int32Array(room);
    this.#offsets = new Int32Array(room);
    this.#kinds = new Int32Array(room);
    for (let i = 0; i < kinds.length; i++) {
      if (kinds[i] === 0) continue;
      let at = place(flags[i], offsets[i], room - 1);
      while (this.#kinds[at] !== 0) at = (at + 1) & (room - 1);
      this.#flags[at] = flags[i];
      this.#offsets[at] = offsets[i];
      this.#kinds[at] = kinds[i];
    }
  }
}

const place = (flags: number, offsets: number, mask: number): number => {
  const mixed = Math.imul(offsets ^ Math.imul(flags, 0x9e3779b1), 0x85ebca6b);
  return (mixed ^ (mixed >>> 15)) & mask;
};
