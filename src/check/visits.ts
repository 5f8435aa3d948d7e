// Which instructions paths have been at, and with which stack pointers.
//
// Invariant: each stack pointer is noted once for an instruction, and no more than `most` of them: loops end, and
// paths that disagree on the stack are all looked at.

export class Visits {
  /** By instruction. */
  readonly count: Uint8Array;
  readonly #most: number;
  readonly #seen: Int32Array;

  constructor(instructions: number, most: number) {
    this.#most = most;
    this.count = new Uint8Array(instructions);
    this.#seen = new Int32Array(instructions * most);
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
    const count = this.count[insn];
    if (count >= this.#most) return false;
    this.#seen[insn * this.#most + count] = sp;
    this.count[insn] = count + 1;
    return true;
  }

  clear(): void {
    this.count.fill(0);
  }
}
