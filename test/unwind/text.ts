// Text for the tests: functions of 64 bytes, one ORC entry each, or a real module's tables at chosen addresses.

import { readFileSync } from 'node:fs';
import { X86_64 } from '../../src/arch/x86_64/x86_64.ts';
import { parseElf } from '../../src/elf/elf_object.ts';
import {
  isWeakTerminator,
  type OrcEntry,
  type OrcLayout,
  type OrcTable,
  orcTableFromEntries,
  orcTableFromSections,
  unpackOrcEntry,
} from '../../src/elf/orc.ts';
import type { OrcLookup } from '../../src/unwind/orc_lookup.ts';
import type { FrameSpec } from './stack_builder.ts';

export const IMAGE = 0x81000000;
export const MODULE = 0xc0201000;
const FUNCTION_SIZE = 64;

/** Image text made of one function for each entry asked for. */
export class TestText {
  private readonly entries: (OrcEntry & { ip: number })[] = [];

  /** A new function with this entry throughout; the frame stands 16 bytes into it. */
  frame(entry: OrcEntry, pad = 0): FrameSpec {
    const ip = IMAGE + this.entries.length * FUNCTION_SIZE;
    this.entries.push({ ...entry, ip });
    return { ip: ip + 16, entry, pad };
  }

  addTo(lookup: OrcLookup): void {
    const size = this.entries.length * FUNCTION_SIZE;
    lookup.addText({
      name: 'vmlinux',
      ranges: [{ start: IMAGE, size }],
      orc: orcTableFromEntries(this.entries),
    });
  }
}

export interface ModuleText {
  readonly orc: OrcTable;
  readonly ranges: { readonly start: number; readonly size: number }[];
  /** Places a frame can stand at: for a return address (after at least one byte), with the entry in force. */
  readonly frames: FrameSpec[];
}

/** A real module's text laid out from `base` on, one section after another, and its ORC table relocated. */
export function readModuleText(file: string, base = MODULE): ModuleText {
  const elf = parseElf(readFileSync(file), file, X86_64.elf);
  const ipSection = elf.section('.orc_unwind_ip');
  const orcSection = elf.section('.orc_unwind');
  if (!ipSection || !orcSection) throw new Error(`${file} has no ORC table`);
  const starts = new Map<number, number>();
  const ranges: { start: number; size: number }[] = [];
  let at = base;
  for (const section of elf.sections) {
    if ((section.flags & 6) !== 6 || section.size === 0) continue;
    starts.set(section.index, at);
    ranges.push({ start: at, size: section.size });
    at = (at + section.size + 0xfff) & ~0xfff;
    at >>>= 0;
  }
  const ipBase = (at + 0x10000) >>> 0;
  const ip = new Uint8Array(elf.data(ipSection));
  const view = new DataView(ip.buffer);
  for (const { offset, symbol, addend } of elf.relocations(ipSection.index)) {
    const start = starts.get(symbol.shndx);
    if (start === undefined) throw new Error(`${file}: ORC for a section that is not text`);
    view.setInt32(offset, start + Number(symbol.value) + Number(addend) - (ipBase + offset), true);
  }
  const layout = X86_64.code.orc.formats.get('6.1') as OrcLayout;
  const orc = orcTableFromSections(ip, 0xffffffff00000000n + BigInt(ipBase), elf.data(orcSection), layout);
  return { orc, ranges, frames: framesOf(orc, ranges) };
}

function framesOf(orc: OrcTable, ranges: { start: number; size: number }[]): FrameSpec[] {
  const frames: FrameSpec[] = [];
  for (let i = 0; i < orc.count; i++) {
    const start = orc.ip[i];
    const range = ranges.find((r) => start >= r.start && start < r.start + r.size);
    const next = i + 1 < orc.count ? orc.ip[i + 1] : start + 1;
    if (range === undefined || next <= start || isWeakTerminator(orc.flags[i])) continue;
    // Where the call is the last instruction of the section, its return address is outside.
    const ip = Math.min(next, range.start + range.size - 1);
    if (ip > start) frames.push({ ip, entry: unpackOrcEntry(orc, i) });
  }
  return frames;
}
