// The arrays that instructions are kept in, used again for the next object.
//
// Invariant: arrays that are taken hold nothing but zeros. Fresh pages cost more than clearing used ones: for
// many small objects, and for a large one after another.

export class CodeColumns {
  readonly room: number;
  readonly section: Uint32Array;
  readonly offset: Int32Array;
  readonly length: Uint8Array;
  readonly type: Uint8Array;
  readonly flags: Uint16Array;
  readonly func: Int32Array;
  readonly opCode: Int32Array;
  readonly opOffset: Int32Array;
  readonly jumpDest: Int32Array;
  readonly callDest: Int32Array;
  readonly reloc: Int32Array;
  readonly cfi: Int32Array;
  /** The instruction that starts at each byte, of one section after the other. */
  readonly starting: Int32Array;

  private constructor(room: number) {
    this.room = room;
    this.section = new Uint32Array(room);
    this.offset = new Int32Array(room);
    this.length = new Uint8Array(room);
    this.type = new Uint8Array(room);
    this.flags = new Uint16Array(room);
    this.func = new Int32Array(room);
    this.opCode = new Int32Array(room);
    this.opOffset = new Int32Array(room);
    this.jumpDest = new Int32Array(room);
    this.callDest = new Int32Array(room);
    this.reloc = new Int32Array(room);
    this.cfi = new Int32Array(room);
    this.starting = new Int32Array(room);
  }

  /** Room for as many instructions, and bytes, as `room`. What is not used of it takes no memory. */
  static take(room: number): CodeColumns {
    const kept = spare;
    spare = undefined;
    return kept && kept.room >= room ? kept : new CodeColumns(roomFor(room));
  }

  /** Back for the next one: nothing of them may be used any more. */
  release(instructions: number, bytes: number): void {
    if (this.room > MOST_KEPT || (spare && spare.room >= this.room)) return;
    for (const column of Object.values(this)) {
      if (ArrayBuffer.isView(column))
        (column as Int32Array).fill(0, 0, column === this.starting ? bytes : instructions);
    }
    spare = this;
  }
}

/** A quarter more, so that the next object may fit as well. */
const roomFor = (room: number): number => Math.ceil(room * 1.25) + 1024;

/** Text of 16 MB: more is not worth keeping for. */
const MOST_KEPT = 1 << 24;
let spare: CodeColumns | undefined;
