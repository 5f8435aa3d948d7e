// ORC entries of an object that has no addresses yet: by section and offset.
//
// Invariant: rows of one section are consecutive and rise; `flags` is the bitfield of 6.1 whatever the
// object's own format, with ORC_SIGNAL above it.

import type { OrcTable } from '../elf/orc.ts';
import { sortOrcTable } from '../elf/orc.ts';

export interface OrcRows {
  readonly count: number;
  /** Index of the section in its object. */
  readonly section: Uint32Array;
  readonly offset: Int32Array;
  readonly spOffset: Int16Array;
  readonly bpOffset: Int16Array;
  readonly flags: Uint16Array;
}

/** An interrupt frame: the address it gives is not a return address. Of 6.3 and later. */
export const ORC_SIGNAL = 0x800;

export class OrcRowsBuilder {
  count = 0;
  section = new Uint32Array(1024);
  offset = new Int32Array(1024);
  spOffset = new Int16Array(1024);
  bpOffset = new Int16Array(1024);
  flags = new Uint16Array(1024);

  add(section: number, offset: number, spOffset: number, bpOffset: number, flags: number): void {
    const at = this.count++;
    if (at === this.section.length) this.#grow();
    this.section[at] = section;
    this.offset[at] = offset;
    this.spOffset[at] = spOffset;
    this.bpOffset[at] = bpOffset;
    this.flags[at] = flags;
  }

  finish(): OrcRows {
    const { count } = this;
    return {
      count,
      section: this.section.slice(0, count),
      offset: this.offset.slice(0, count),
      spOffset: this.spOffset.slice(0, count),
      bpOffset: this.bpOffset.slice(0, count),
      flags: this.flags.slice(0, count),
    };
  }

  #grow(): void {
    const room = this.section.length * 2;
    const larger = <T extends Uint32Array | Uint16Array | Int32Array | Int16Array>(from: T, to: T): T => {
      to.set(from);
      return to;
    };
    this.section = larger(this.section, new Uint32Array(room));
    this.offset = larger(this.offset, new Int32Array(room));
    this.spOffset = larger(this.spOffset, new Int16Array(room));
    this.bpOffset = larger(this.bpOffset, new Int16Array(room));
    this.flags = larger(this.flags, new Uint16Array(room));
  }
}

/** The rows as the kernel has them once the sections have addresses. */
export function rowsAt(rows: OrcRows, addrOf: (section: number) => bigint): OrcTable {
  const { count, section, offset } = rows;
  const ip = new Uint32Array(count);
  let last = -1;
  let base = 0;
  for (let i = 0; i < count; i++) {
    if (section[i] !== last) {
      last = section[i];
      base = Number(BigInt.asUintN(32, addrOf(last)));
    }
    ip[i] = base + offset[i];
  }
  const { spOffset, bpOffset, flags } = rows;
  return sortOrcTable({ count, ip, spOffset, bpOffset, flags: flags.map((f) => f & ~ORC_SIGNAL) });
}
