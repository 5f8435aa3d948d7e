// A description from a kernel's own words: its types (BTF), and what they do not tell from tables (defines.ts,
// private_layout.ts). It has what the built-in description has, row for row.
//
// Invariant: a row that this kernel does not have is named in `absent`, and whoever reads it gets an error with its name;
// no row is filled with another kernel's.

import { Btf } from '../btf/btf.ts';
import { KIND } from '../btf/kinds.ts';
import { readExports } from '../vmlinuz/exports.ts';
import { kernelIdentity } from '../vmlinuz/identity.ts';
import type { LinkedKernel } from '../vmlinuz/linked_kernel.ts';
import { CHANGED, ofRelease } from './defines.ts';
import { BUILT_IN, type Constants, type KernelDescription, type Structs } from './description.ts';
import { LATER_MEMBERS, LATER_STRUCTS } from './later_layout.ts';
import { OUR_CONSTANTS, OUR_STRUCTS } from './private_layout.ts';

/** Something of the built-in description that another kernel does not have. */
export class AbsentError extends Error {
  readonly code = 'ENOTSUP';
  constructor(release: string, name: string) {
    super(`kernel ${release} has no ${name}, which this machine asks for`);
    this.name = 'AbsentError';
  }
}

interface Described {
  readonly description: KernelDescription;
  /** `module.core_layout_base`, `sizeof module_layout`, `__GFP_ATOMIC`: what the built-in one has and this one not. */
  readonly absent: readonly string[];
}

interface Named {
  readonly release: string;
  readonly vermagic: string;
  /** Of module_layout; none in a kernel without CONFIG_MODVERSIONS. */
  readonly layoutCrc: number | undefined;
  readonly orcHash: string | undefined;
  /** linux_banner, which has the package's name. */
  readonly banner: string;
}

/** What is the same under another name: of the compiler's (#define rcu_head callback_head), or of later kernels. */
const OTHER_NAMES: ReadonlyMap<string, string> = new Map([
  ['klp_shadow.rcu_head', 'callback_head'],
  // From 6.4 on.
  ['iov_iter.iov', '__iov'],
  // From 6.15 on.
  ['kernfs_node.parent', '__parent'],
]);
/** A structure that another one hides since 6.12. */
const OTHER_STRUCTS: ReadonlyMap<string, string> = new Map([['ftrace_regs', '__arch_ftrace_regs']]);

/** fs/proc/internal.h, SIZEOF_PDE: what a proc_dir_entry takes with a short name behind it. */
const PDE_SIZES = [128, 192, 256, 512] as const;

type Bits = { readonly bit: number; readonly width: number };
type Row = { readonly size: number; readonly fields: object; readonly bitfields: object };

/** The description of a kernel from its file alone. @throws ElfError for one that does not describe itself */
export function describeFile(kernel: LinkedKernel): Described {
  const types = kernel.section('.BTF');
  if (!types)
    throw kernel.error(
      'it has no BTF, which tells its structures: it was built without CONFIG_DEBUG_INFO_BTF',
    );
  const btf = new Btf(kernel.data(types), { file: kernel.file, section: '.BTF' });
  if (btf.named('klp_patch', KIND.struct).length === 0)
    throw kernel.error('it cannot be livepatched: it was built without CONFIG_LIVEPATCH');
  const layoutCrc = readExports(kernel).find(({ name }) => name === 'module_layout')?.crc;
  const header = kernel.section('.orc_header');
  const orcHash = header && Buffer.from(kernel.data(header)).toString('hex');
  return describeKernel(btf, { ...kernelIdentity(kernel), layoutCrc, orcHash });
}

/** @throws ElfError for types that contradict themselves */
export function describeKernel(
  btf: Btf,
  { release, vermagic, layoutCrc, orcHash, banner }: Named,
): Described {
  const absent: string[] = [];
  const lacks = (name: string): PropertyDescriptor => {
    absent.push(name);
    // Not enumerable: the image is assembled without it, and what names it says so.
    return { get: () => raise(new AbsentError(release, name)) };
  };
  const structs = Object.fromEntries(
    Object.entries(BUILT_IN.structs).map(([name, builtIn]) => [
      name,
      OUR_STRUCTS.has(name) ? builtIn : structFrom(btf, name, builtIn, lacks),
    ]),
  );
  addLater(btf, structs);
  const constants = {};
  const enumerators = enumeratorsOf(btf);
  for (const [name, builtIn] of Object.entries(BUILT_IN.constants)) {
    const value = constantIn(name, builtIn, enumerators.get(name), release);
    Object.defineProperty(constants, name, value === undefined ? lacks(name) : { value, enumerable: true });
  }
  return {
    description: {
      release,
      vermagic,
      layoutCrc,
      orcHash,
      packageId: /#\d+ .*?( [A-Z]\w+ [0-9]\S*)(?: \(\S+\))?\n/.exec(banner)?.[1] ?? '',
      structs: structs as Structs,
      constants: constants as Constants,
    },
    absent,
  };
}

/** As data that can be kept: without what is absent. */
export function plainDescription(description: KernelDescription): KernelDescription {
  const { structs, constants } = description;
  const parts = Object.entries(structs).map(([name, one]) => [
    name,
    { ...one, fields: { ...one.fields }, bitfields: { ...one.bitfields } },
  ]);
  return { ...description, structs: Object.fromEntries(parts), constants: { ...constants } };
}

/** A description that was kept, with errors again where something is absent. */
export function withAbsent(plain: KernelDescription, absent: readonly string[]): KernelDescription {
  const structs: Readonly<Record<string, { readonly fields: object; readonly bitfields: object }>> =
    plain.structs;
  for (const name of absent) {
    const lacks = { get: () => raise(new AbsentError(plain.release, name)) };
    const [, whole] = /^sizeof (\w+)$/.exec(name) ?? [];
    const [, struct, field] = /^(\w+)\.(\w+)$/.exec(name) ?? [];
    if (whole !== undefined) Object.defineProperty(structs[whole], 'size', lacks);
    else if (struct === undefined) Object.defineProperty(plain.constants, name, lacks);
    else {
      const isBits = Object.hasOwn(BITFIELDS[struct] ?? {}, field);
      Object.defineProperty(isBits ? structs[struct].bitfields : structs[struct].fields, field, lacks);
    }
  }
  return plain;
}

const BITFIELDS: Readonly<Record<string, object>> = Object.fromEntries(
  Object.entries(BUILT_IN.structs).map(([name, { bitfields }]) => [name, bitfields]),
);

function raise(error: Error): never {
  throw error;
}

function constantIn(
  name: string,
  builtIn: number | bigint,
  enumerator: bigint | undefined,
  release: string,
): number | bigint | undefined {
  if (OUR_CONSTANTS.has(name)) return builtIn;
  if (enumerator !== undefined) return typeof builtIn === 'bigint' ? enumerator : Number(enumerator);
  const changed = CHANGED.get(name);
  return ofRelease(changed ?? [builtIn, builtIn, builtIn], release);
}

/** The first of a name: two of one name with two values are of two .c files, and none of the machine's. */
function enumeratorsOf(btf: Btf): ReadonlyMap<string, bigint> {
  const found = new Map<string, bigint>();
  for (const type of btf.ofKinds(KIND.enum, KIND.enum64)) {
    for (const { name, value } of btf.enumerators(type)) if (!found.has(name)) found.set(name, value);
  }
  return found;
}

function structFrom(
  btf: Btf,
  name: string,
  builtIn: Row,
  lacks: (name: string) => PropertyDescriptor,
): object {
  const found = [OTHER_STRUCTS.get(name), name].flatMap((one) => btf.named(one ?? '', KIND.struct));
  const type = found.find((one) => btf.members(one).length > 0) ?? found[0];
  const whole = type === undefined ? undefined : membersOf(btf, type);
  const size = type === undefined ? undefined : sizeOf(btf, name, type);
  const result = {};
  const rows = (kind: 'fields' | 'bitfields', members: ReadonlyMap<string, unknown> | undefined): object => {
    const part = {};
    for (const field of Object.keys(builtIn[kind])) {
      const value = members?.get(field) ?? members?.get(OTHER_NAMES.get(`${name}.${field}`) ?? '');
      Object.defineProperty(
        part,
        field,
        value === undefined ? lacks(`${name}.${field}`) : { value, enumerable: true },
      );
    }
    return part;
  };
  Object.defineProperty(
    result,
    'size',
    size === undefined ? lacks(`sizeof ${name}`) : { value: size, enumerable: true },
  );
  const fields = rows('fields', whole?.fields);
  const bitfields = rows('bitfields', whole?.bitfields);
  return Object.defineProperties(result, {
    fields: { value: fields, enumerable: true },
    bitfields: { value: bitfields, enumerable: true },
  });
}

/** What later kernels have beyond the built-in one: as far as this one has it. */
function addLater(btf: Btf, structs: Record<string, object>): void {
  for (const [name, members] of Object.entries(LATER_MEMBERS))
    Object.assign((structs[name] as Row).fields, pick(btf, name, members)?.fields);
  for (const [name, members] of Object.entries(LATER_STRUCTS)) {
    const found = pick(btf, name, members);
    if (found) structs[name] = { ...found, bitfields: {} };
  }
}

function pick(
  btf: Btf,
  name: string,
  members: readonly string[],
): { readonly size: number; readonly fields: object } | undefined {
  const type = btf.named(name, KIND.struct).find((one) => btf.members(one).length > 0);
  if (type === undefined) return undefined;
  const { fields } = membersOf(btf, type);
  const found = members.flatMap((member): [string, number][] => {
    const offset = fields.get(member);
    return offset === undefined ? [] : [[member, offset]];
  });
  return { size: btf.size(type), fields: Object.fromEntries(found) };
}

function sizeOf(btf: Btf, name: string, type: number): number {
  const size = btf.size(type);
  if (name !== 'proc_dir_entry') return size;
  return PDE_SIZES.find((room) => size < room) ?? size;
}

interface Members {
  readonly fields: Map<string, number>;
  readonly bitfields: Map<string, Bits>;
}

const RECORDS: ReadonlySet<number> = new Set([KIND.struct, KIND.union]);
const MOST_DEPTH = 16;

/** As the description has them: those of embedded structures with '_' between, those of anonymous ones as they are. */
function membersOf(btf: Btf, type: number): Members {
  const members: Members = { fields: new Map(), bitfields: new Map() };
  addMembers(btf, type, 0, '', 0, members);
  return members;
}

function addMembers(
  btf: Btf,
  type: number,
  start: number,
  prefix: string,
  depth: number,
  into: Members,
): void {
  if (depth > MOST_DEPTH) throw btf.error(`type ${type} has itself as a member, or is too deep`);
  for (const member of btf.members(type)) {
    const bit = start + member.offset;
    const name = prefix + member.name;
    if (member.name !== '' && member.width > 0) {
      if (!into.bitfields.has(name)) into.bitfields.set(name, { bit, width: member.width });
      // Of whole bytes, it is read as any other.
      if (bit % 8 === 0 && member.width % 8 === 0 && !into.fields.has(name)) into.fields.set(name, bit / 8);
    } else if (member.name !== '' && !into.fields.has(name)) into.fields.set(name, bit / 8);
    const of = btf.resolved(member.type);
    if (RECORDS.has(btf.kind(of)))
      addMembers(btf, of, bit, member.name === '' ? prefix : `${name}_`, depth + 1, into);
  }
}
