// The image's text and its fentry sites, as they are looked at after each thing that is done to a machine.
//
// Invariant: the image's sites stay where they are for as long as the machine lives, and who writes text tells the memory's
// listeners (guest/memory.ts): a site that nobody wrote to since it was looked at is as it was.

import type { FtraceRec } from '../ftrace/dyn_ftrace.ts';
import { type Addr, lo32 } from '../guest/addr.ts';
import { lastBelow } from '../kernel/object_symbols.ts';
import type { Machine } from '../machine/machine.ts';

export interface ImageRun {
  readonly start: Addr;
  readonly size: number;
}

const runsOf = new WeakMap<Machine, readonly ImageRun[]>();

/** From the first fentry site to the last; a kernel with ours behind it has text in two places. */
export function imageRuns(machine: Machine): readonly ImageRun[] {
  const known = runsOf.get(machine);
  if (known) return known;
  const { core, ftrace } = machine.inspect;
  const { size } = core.arch.fentry;
  const runs: { start: Addr; size: number }[] = [];
  for (const { ip } of ftrace.records.group(undefined)) {
    const last = runs.at(-1);
    const gap = last ? Number(ip - last.start) - last.size : 0;
    if (last && core.mem.isMapped(last.start + BigInt(last.size - 1), gap + size))
      last.size = Number(ip - last.start) + size;
    else runs.push({ start: ip, size });
  }
  runsOf.set(machine, runs);
  return runs;
}

/** To look at all sites takes as long as at so many. */
const MOST_WRITTEN = 10_000;

/** Which of the image's sites hold something else than a nop. */
class OtherThanNops {
  readonly #machine: Machine;
  readonly #low: Uint32Array;
  readonly #marks: Uint8Array;
  /** Low halves of where text was written since, and how many bytes; undefined: too often, or nothing was looked at yet. */
  #written: { readonly from: number; readonly size: number }[] | undefined;

  constructor(machine: Machine, records: readonly FtraceRec[]) {
    this.#machine = machine;
    this.#low = Uint32Array.from(records, ({ ip }) => lo32(ip));
    this.#marks = new Uint8Array(records.length);
    const { mem } = machine.inspect.core;
    mem.attach({
      unmap() {},
      invalidate: (addr, size) => {
        if (this.#written?.push({ from: lo32(addr), size }) === MOST_WRITTEN) this.#written = undefined;
      },
    });
  }

  /** By number of the record: 1 for such a site. */
  now(records: readonly FtraceRec[]): Uint8Array {
    const { mem, arch } = this.#machine.inspect.core;
    const { nop, size } = arch.fentry;
    if (!this.#written) this.#lookAtAll();
    for (const { from, size: length } of this.#written ?? []) {
      let i = lastBelow(this.#low.length, (at) => this.#low[at] <= from - size) + 1;
      for (; i < this.#low.length && this.#low[i] < from + length; i++)
        this.#marks[i] = mem.holdsThere(records[i].ip, nop) ? 0 : 1;
    }
    this.#written = [];
    return this.#marks;
  }

  #lookAtAll(): void {
    const { mem, arch } = this.#machine.inspect.core;
    const [low, marks] = [this.#low, this.#marks];
    let i = 0;
    for (const { start, size } of imageRuns(this.#machine)) {
      const bytes = mem.view(start, size);
      const base = lo32(start);
      for (; i < low.length && low[i] - base < size && low[i] >= base; i++)
        marks[i] = isAt(bytes, low[i] - base, arch.fentry.nop) ? 0 : 1;
    }
    marks.fill(1, i);
  }
}

const othersOf = new WeakMap<readonly FtraceRec[], OtherThanNops>();

/** The image's records but for those of sites at which a nop stands, and which nobody is said to listen to. */
export function unusualSites(machine: Machine): FtraceRec[] {
  const records = machine.inspect.ftrace.records.group(undefined);
  let others = othersOf.get(records);
  if (!others) {
    others = new OtherThanNops(machine, records);
    othersOf.set(records, others);
  }
  const marks = others.now(records);
  return records.filter((rec, i) => marks[i] === 1 || rec.flags !== 0 || rec.target !== 0n);
}

function isAt(bytes: Uint8Array, at: number, wanted: Readonly<Uint8Array>): boolean {
  for (let i = 0; i < wanted.length; i++) if (bytes[at + i] !== wanted[i]) return false;
  return true;
}
