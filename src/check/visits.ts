// Which instructions paths have been at, and with which stack pointers.
//
// Invariant: each stack pointer is noted once for an instruction, and no more than `most` of them: loops end, and
// paths that disagree on the stack are all looked at.

export class Visits {
  /** By instruction. */
  readonly count: Uint8Array;
  readonly #most: number;
  /** Of so many instructions as a bit of BLOCK_BITS says: whether one was noted since all were forgotten. */
  readonly #noted: Uint8Array;
  readonly #seen: Int32Array;

  constructor(instructions: number, most: number) {
    const kept = spare;
    spare = undefined;
    const fits = kept && kept.count.length >= instructions && kept.seen.length >= instructions * most;
    this.#most = most;
    this.#noted = new Uint8Array((instructions >> BLOCK_BITS) + 1);
    this.count = fits ? kept.count : new Uint8Array(roomFor(instructions));
    this.#seen = fits ? kept.seen : new Int32Array(roomFor(instructions) * most);
  }

  /** Gives the arrays to the next ones: nothing of these may be used any more. */
  release(): void {
    if (spare && spare.count.length >= this.count.length) return;
    this.clear();
    spare = { count: this.count, seen: this.#seen };
  }

  /** Whether a path has nothing to look for there any more. */
  has(insn: number, sp: number): boolean {
    const count = this.count[insn];
    const first = insn * this.#most;
    for (let i = first; i < first + count; i++) if (this.#seen[i] === sp) return true;
    return count >= this.#most;
  }

  /** False, and nothing is noted, where it has been often enough. */
  note(insn: number, sp: number): boolean {
    if (this.count[insn] >= this.#most) return false;
    this.add(insn, sp);
    return true;
  }

  /** Where a path has something to look for. */
  add(insn: number, sp: number): void {
    const count = this.count[insn];
    this.#seen[insn * this.#most + count] = sp;
    this.count[insn] = count + 1;
    this.#noted[insn >> BLOCK_BITS] = 1;
  }

  clear(): void {
    for (let block = 0; block < this.#noted.length; block++) {
      if (this.#noted[block] === 0) continue;
      this.#noted[block] = 0;
      this.count.fill(0, block << BLOCK_BITS, (block + 1) << BLOCK_BITS);
    }
  }
}

/** A proof is of one function: clearing what it noted is much less than all. */
const BLOCK_BITS = 9;

/** A quarter more, so that the next object may fit as well. */
const roomFor = (instructions: number): number => Math.ceil(instructions * 1.25) + 1024;

/** Arrays of one that is done with them, for the next: fresh pages cost more than clearing used ones. */
let spare: { readonly count: Uint8Array; readonly seen: Int32Array } | undefined;
