// Where the fields of structures lie, as a compiler of that kernel would have them: members of structures without a name
// are the surrounding structure's own.
//
// Invariant: whatever types claim of each other, a layout has at most MOST_FIELDS fields, or there is none.

import type { Btf } from './btf.ts';
import { declaration } from './declaration.ts';
import { KIND } from './kinds.ts';

export interface BtfField {
  /** Of members in structures that have a name, that of the outermost alone. */
  readonly name: string;
  /** In bytes; of a bit field, of the byte that its first bit is in. */
  readonly offset: number;
  readonly size: number;
  readonly type: number;
  /** As C declares it. */
  readonly declaration: string;
  /** From the beginning of the structure, as `bit` and `width`. */
  readonly bits?: { readonly bit: number; readonly width: number };
}

export interface BtfLayout {
  readonly kind: 'struct' | 'union';
  readonly name: string;
  readonly type: number;
  readonly size: number;
  readonly fields: readonly BtfField[];
}

const MOST_FIELDS = 20_000;
const MOST_DEPTH = 24;

const RECORDS: ReadonlySet<number> = new Set([KIND.struct, KIND.union]);

/** The first structure or union of that name, or what a typedef of that name is of; undefined: there is none. */
export function layoutOf(btf: Btf, name: string): BtfLayout | undefined {
  const [record] = btf.named(name, KIND.struct, KIND.union);
  if (record !== undefined) return layoutOfType(btf, record, name);
  for (const alias of btf.named(name, KIND.typedef)) {
    const type = btf.resolved(alias);
    if (RECORDS.has(btf.kind(type))) return layoutOfType(btf, type, name);
  }
  return undefined;
}

/** @throws ElfError for members that are no types, go in a circle or lie outside */
function layoutOfType(btf: Btf, type: number, name = btf.name(type)): BtfLayout {
  const fields: BtfField[] = [];
  const size = btf.size(type);
  addMembers(btf, type, 0, 0, fields);
  for (const field of fields) {
    const end = field.bits ? (field.bits.bit + field.bits.width) / 8 : field.offset + field.size;
    if (end > size)
      throw btf.error(`${name}.${field.name} ends at ${Math.ceil(end)}, and ${name} at ${size}`);
  }
  return { kind: btf.kind(type) === KIND.union ? 'union' : 'struct', name, type, size, fields };
}

function addMembers(btf: Btf, type: number, start: number, depth: number, fields: BtfField[]): void {
  if (depth > MOST_DEPTH) throw btf.error(`type ${type} has itself as a member, or is too deep`);
  for (const member of btf.members(type)) {
    const bit = start + member.offset;
    const of = btf.resolved(member.type);
    if (member.name === '' && RECORDS.has(btf.kind(of))) {
      addMembers(btf, of, bit, depth + 1, fields);
      continue;
    }
    // What only fills up has no name.
    if (member.name === '') continue;
    if (fields.length >= MOST_FIELDS) throw btf.error(`type ${type} has more than ${MOST_FIELDS} members`);
    const { width } = member;
    if (width === 0 && bit % 8 !== 0)
      throw btf.error(`${member.name} of type ${type} begins inside of a byte`);
    fields.push({
      name: member.name,
      offset: bit >>> 3,
      size: btf.size(member.type),
      type: member.type,
      declaration: declaration(btf, member.type, member.name),
      ...(width === 0 ? {} : { bits: { bit, width } }),
    });
  }
}

/** `klp.list.next`, of a structure: where it lies from its beginning. undefined: there is no such field. */
export function fieldOf(btf: Btf, structure: string, path: string): BtfField | undefined {
  let layout = layoutOf(btf, structure);
  let start = 0;
  let found: BtfField | undefined;
  for (const name of path.split('.')) {
    found = layout?.fields.find((field) => field.name === name);
    if (!found) return undefined;
    const bits = found.bits && { bit: found.bits.bit + 8 * start, width: found.bits.width };
    found = { ...found, offset: start + found.offset, ...(bits ? { bits } : {}) };
    start = found.offset;
    const type = btf.resolved(found.type);
    layout = RECORDS.has(btf.kind(type)) ? layoutOfType(btf, type) : undefined;
  }
  return found;
}

/** The value of an enumerator, of whichever enumeration; undefined: there is none. */
export function enumeratorOf(btf: Btf, name: string): bigint | undefined {
  for (const type of btf.ofKinds(KIND.enum, KIND.enum64)) {
    const found = btf.enumerators(type).find((one) => one.name === name);
    if (found) return found.value;
  }
  return undefined;
}
