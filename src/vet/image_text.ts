// The image's text and its fentry sites, as they are looked at after each thing that is done to a machine.
//
// Invariant: the image's sites stay where they are for as long as the machine lives.

import type { FtraceRec } from '../ftrace/dyn_ftrace.ts';
import { type Addr, lo32 } from '../guest/addr.ts';
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

const lowOf = new WeakMap<readonly FtraceRec[], Uint32Array>();

function lowIps(records: readonly FtraceRec[]): Uint32Array {
  const known = lowOf.get(records);
  if (known) return known;
  const low = Uint32Array.from(records, ({ ip }) => lo32(ip));
  lowOf.set(records, low);
  return low;
}

/** The image's records but for those of sites at which a nop stands, and which nobody is said to listen to. */
export function unusualSites(machine: Machine): FtraceRec[] {
  const { core, ftrace } = machine.inspect;
  const { nop } = core.arch.fentry;
  const records = ftrace.records.group(undefined);
  const low = lowIps(records);
  const unusual: FtraceRec[] = [];
  let i = 0;
  for (const { start, size } of imageRuns(machine)) {
    const bytes = core.mem.view(start, size);
    const base = lo32(start);
    for (; i < records.length && low[i] - base < size && low[i] >= base; i++) {
      const rec = records[i];
      if (rec.flags !== 0 || rec.target !== 0n || !isAt(bytes, low[i] - base, nop)) unusual.push(rec);
    }
  }
  for (; i < records.length; i++) unusual.push(records[i]);
  return unusual;
}

function isAt(bytes: Uint8Array, at: number, wanted: Readonly<Uint8Array>): boolean {
  for (let i = 0; i < wanted.length; i++) if (bytes[at + i] !== wanted[i]) return false;
  return true;
}
