// Addresses: sizes of branches, offsets of items, bases of sections, then the fixups.
//
// Invariant: a branch only ever grows, so the loop over sizes ends; afterwards every
// short branch is checked again when its displacement is written.

import { fitsWidth, putNumber } from './data.ts';
import { AsmError, type Place } from './error.ts';
import type { Value } from './expr.ts';
import { nameOfKey } from './keys.ts';
import { fitsInt32 } from './operands.ts';
import type { BranchItem, Fixup, Item, Label, Mark, Program, Section } from './program.ts';

const PAGE = 0x1000n;
const KERNEL_BASE = 0xffffffff81000000n;
const USER_BASE = 0x400000n;
const pageUp = (addr: bigint): bigint => (addr + PAGE - 1n) & ~(PAGE - 1n);

const branchSize = (item: BranchItem): number =>
  item.isShort ? (item.short as readonly number[]).length + 1 : (item.near as readonly number[]).length + 4;

function itemSize(item: Item, at: number): number {
  switch (item.kind) {
    case 'bytes':
      return item.bytes.length;
    case 'branch':
      return branchSize(item);
    case 'align':
      return -at & (item.align - 1);
    case 'space':
      return item.size;
  }
}

/** Sections in order of address; each follows the one named, page aligned. */
const FOLLOWS: ReadonlyArray<readonly [string, string | bigint]> = [
  ['.text', KERNEL_BASE],
  ['.rodata', '.text'],
  ['.data', '.rodata'],
  ['.bss', '.data'],
  ['.data..percpu', 0n],
  ['.user.text', USER_BASE],
  ['.user.data', '.user.text'],
];

export class Layout {
  readonly program: Program;
  readonly offsets = new Map<Section, number[]>();
  readonly bases = new Map<string, bigint>();

  readonly #fillNops: (gap: Uint8Array) => void;
  /** Symbols by name that are somewhere else: what refers to them goes there. */
  readonly #places: ReadonlyMap<string, bigint>;

  constructor(
    program: Program,
    bases: Partial<Record<string, bigint>>,
    fillNops: (gap: Uint8Array) => void,
    places: ReadonlyMap<string, bigint> = new Map(),
  ) {
    this.program = program;
    this.#fillNops = fillNops;
    this.#places = places;
    for (const section of program.sections.values()) this.relax(section);
    for (const [name, after] of FOLLOWS) this.bases.set(name, bases[name] ?? this.baseAfter(after));
    this.checkOverlap();
  }

  baseAfter(after: string | bigint): bigint {
    if (typeof after === 'bigint') return after;
    return pageUp((this.bases.get(after) as bigint) + BigInt(this.size(after)));
  }

  checkOverlap(): void {
    const spans = [...this.bases]
      .filter(([name]) => name !== '.data..percpu' && this.size(name) > 0)
      .map(([name, base]) => ({ name, base, end: base + BigInt(this.size(name)) }))
      .sort((a, b) => (a.base < b.base ? -1 : 1));
    for (let i = 1; i < spans.length; i++) {
      const [a, b] = [spans[i - 1], spans[i]] as [(typeof spans)[0], (typeof spans)[0]];
      if (a.end <= b.base) continue;
      const place = (this.program.section(b.name) as Section).items[0]?.place as Place;
      throw new AsmError(place, `section ${b.name} at 0x${b.base.toString(16)} overlaps ${a.name}`);
    }
  }

  size(name: string): number {
    return (this.offsets.get(this.program.section(name) as Section) as number[]).at(-1) as number;
  }

  measure(section: Section): number[] {
    const offsets: number[] = [];
    let at = 0;
    for (const item of section.items) {
      offsets.push(at);
      at += itemSize(item, at);
    }
    offsets.push(at);
    this.offsets.set(section, offsets);
    return offsets;
  }

  relax(section: Section): void {
    for (;;) {
      const offsets = this.measure(section);
      let grew = false;
      section.items.forEach((item, i) => {
        if (item.kind !== 'branch' || !item.relaxable || !item.isShort) return;
        const distance = this.localTarget(section, item) - (offsets[i + 1] as number);
        if (distance >= -128 && distance <= 127) return;
        item.isShort = false;
        grew = true;
      });
      if (!grew) return;
    }
  }

  localTarget(section: Section, item: BranchItem): number {
    const label = this.program.locals.get((item.target.terms[0] as { name: string }).name);
    // An undefined label, or one elsewhere, is reported when the branch is written.
    if (!label || label.section !== section || this.#places.has(label.name)) return Number.MAX_SAFE_INTEGER;
    return ((this.offsets.get(section) as number[])[label.item] as number) + Number(item.target.num);
  }

  address(mark: Mark): bigint {
    const offset = (this.offsets.get(mark.section) as number[])[mark.item] as number;
    return (this.bases.get(mark.section.name) as bigint) + BigInt(offset);
  }

  /** Where a symbol is instead of here. */
  placeOf(label: Label): bigint | undefined {
    return this.#places.size === 0 || label.name === '.' ? undefined : this.#places.get(label.name);
  }

  labelSize(label: Label): number {
    const offsets = this.offsets.get(label.section) as number[];
    return (offsets[label.end] as number) - (offsets[label.item] as number);
  }

  evaluate(value: Value, place: Place, external: ReadonlyMap<string, bigint>): bigint {
    let sum = value.num;
    for (const { name, sign } of value.terms) {
      const label = this.program.find(name);
      const address = label ? (this.placeOf(label) ?? this.address(label)) : external.get(nameOfKey(name));
      if (address === undefined) {
        const shown = nameOfKey(name).replace(/#\d+$/, 'f');
        throw new AsmError(place, `undefined symbol '${shown}'`, shown);
      }
      sum += sign === 1 ? address : -address;
    }
    return sum;
  }

  /** The bytes of a section, branches and fixups written. */
  bytes(section: Section, external: ReadonlyMap<string, bigint>): Uint8Array {
    const offsets = this.offsets.get(section) as number[];
    const out = new Uint8Array(section.name === '.bss' ? 0 : (offsets.at(-1) as number));
    const base = this.bases.get(section.name) as bigint;
    section.items.forEach((item, i) => {
      const at = offsets[i] as number;
      const next = base + BigInt(offsets[i + 1] as number);
      if (item.kind === 'bytes') {
        out.set(item.bytes, at);
        for (const fixup of item.fixups) {
          const value = this.evaluate(fixup.value, item.place, external);
          putNumber(out, at + fixup.offset, fixup.width, fixupNumber(fixup, value, next, item.place));
        }
      } else if (item.kind === 'branch') {
        const target = this.evaluate(item.target, item.place, external);
        writeBranch(out.subarray(at, offsets[i + 1]), item, target - next);
      } else if (item.kind === 'align') {
        const gap = out.subarray(at, offsets[i + 1]);
        if (item.fill === undefined) this.#fillNops(gap);
        else gap.fill(item.fill);
      }
    });
    return out;
  }
}

function fixupNumber(fixup: Fixup, value: bigint, next: bigint, place: Place): bigint {
  const reach = (n: bigint, fits: boolean): bigint => {
    if (fits) return n;
    throw new AsmError(
      place,
      `0x${BigInt.asUintN(64, value).toString(16)} does not fit the ${fixup.width * 8}-bit operand`,
    );
  };
  const signed = BigInt.asIntN(64, value);
  switch (fixup.kind) {
    case 'pc32': {
      const distance = BigInt.asIntN(64, value - next);
      return reach(distance, fitsInt32(distance));
    }
    case 'abs32':
      return reach(signed, fitsWidth(signed, 4));
    case 'abs32s':
      return reach(signed, fitsInt32(signed));
    case 'abs64':
      return value;
    case 'data':
      return reach(value, fitsWidth(value, fixup.width));
  }
}

function writeBranch(out: Uint8Array, item: BranchItem, distance: bigint): void {
  const opcode = (item.isShort ? item.short : item.near) as readonly number[];
  const width = item.isShort ? 1 : 4;
  const reach = 1n << BigInt(8 * width - 1);
  const signed = BigInt.asIntN(64, distance);
  if (signed < -reach || signed >= reach) {
    throw new AsmError(item.place, `branch target out of reach, ${signed} bytes away`);
  }
  out.set(opcode);
  putNumber(out, opcode.length, width, signed);
}
