// Which offsets, sizes and constants the guest kernel shares with real modules: writes src/kernel/layout.ts, and
// src/kernel/uapi.ts for the numbers that user space knows too, which no kernel changes.
//
//   node scripts/run.mjs extract-layout [KERNEL_RELEASE]
//
// Builds fixtures/layout/layout.c against Debian's kernel headers and reads the object file:
// structures from .BTF (Documentation/bpf/btf.rst), constants from .klpemu.const and .klpemu.string.
// Needed only when the layout changes; its result is checked in.

import { execFileSync } from 'node:child_process';
import { cpSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { ScriptError } from './errors.ts';
import { kernelBuildDir } from './kernel-headers.ts';
import { ROOT } from './root.ts';
import { type UsedNames, usedNames } from './used-layout.ts';

const BTF_MAGIC = 0xeb9f;
const KIND = {
  INT: 1,
  ARRAY: 3,
  STRUCT: 4,
  UNION: 5,
  ENUM: 6,
  TYPEDEF: 8,
  VOLATILE: 9,
  CONST: 10,
  RESTRICT: 11,
};
/** Bytes that follow the 12-byte btf_type, by kind: fixed part and part for each of its vlen members. */
const TRAILER: Readonly<Record<number, readonly [number, number]>> = {
  1: [4, 0],
  3: [12, 0],
  4: [0, 12],
  5: [0, 12],
  6: [0, 8],
  13: [0, 8],
  14: [4, 0],
  15: [0, 12],
  17: [4, 0],
  19: [0, 12],
};

/** Numbers of errors, signals, system calls, and what is handed to them. */
const UAPI =
  /^(?:E[A-Z0-9]+|ERESTART\w+|ENOIOCTLCMD|EPROBE_DEFER|SIG[A-Z0-9]+|O_\w+|S_IF\w+|__NR_\w+|AT_FDCWD|CLONE_\w+|SCHED_\w+)$/;

const CONST_NAME = 56;
const CONST_RECORD = 64;
const STRING_RECORD = 256;

interface BtfMember {
  readonly name: string;
  readonly type: number;
  /** Of a bit field; 0 for others. */
  readonly bits: number;
  readonly bitOffset: number;
}

interface BtfType {
  readonly kind: number;
  readonly name: string;
  readonly size: number;
  /** What it is made of, by number. */
  readonly type: number;
  readonly members?: readonly BtfMember[];
}

interface Struct {
  readonly name: string;
  readonly size: number;
  readonly fields: Record<string, number>;
  readonly bitfields: Record<string, { bit: number; width: number }>;
}

type Constants = Record<string, bigint>;
type Strings = Record<string, string>;

export function main([release]: readonly string[]): void {
  const build = kernelBuildDir(release);
  const object = compileLayout(build);
  const section = sectionReader(object);
  const types = parseBtf(section('.BTF'));
  const strings = readStrings(section('.klpemu.string'));
  const constants = { ...readConstants(section('.klpemu.const')), MODULE_LAYOUT_CRC: moduleLayoutCrc(build) };
  const isUapi = ([name]: readonly [string, bigint]): boolean => UAPI.test(name);
  const own = Object.fromEntries(Object.entries(constants).filter((one) => !isUapi(one)));
  const used = usedNames(ROOT);
  const ownUsed = Object.fromEntries(Object.entries(own).filter(([name]) => used.constant(name)));
  const structs = collectStructs(types).flatMap((one) => usedPart(one, used));
  const text = render(structs, ownUsed, strings);
  writeFileSync(join(ROOT, 'src/kernel/layout.ts'), text);
  writeFileSync(
    join(ROOT, 'src/kernel/uapi.ts'),
    renderUapi(Object.entries(constants).filter(isUapi), strings),
  );
  console.log(`src/kernel/layout.ts: ${text.split('\n').length} lines from ${strings.UTS_RELEASE}`);
}

/** The checksum of module_layout, by which the kernel knows modules that were built for other structures. */
function moduleLayoutCrc(build: string): bigint {
  const line = /^0x([0-9a-f]{8})\tmodule_layout\t/m.exec(readFileSync(join(build, 'Module.symvers'), 'utf8'));
  if (!line) throw new ScriptError(`${build}/Module.symvers has no module_layout`);
  return BigInt(`0x${line[1]}`);
}

function compileLayout(build: string): Buffer {
  const dir = mkdtempSync(join(tmpdir(), 'klpemu-layout-'));
  try {
    cpSync(join(ROOT, 'fixtures/layout'), dir, { recursive: true });
    execFileSync('make', ['-s', '-C', build, `M=${dir}`, 'layout.o'], {
      stdio: ['ignore', 'ignore', 'inherit'],
    });
    return readFileSync(join(dir, 'layout.o'));
  } finally {
    rmSync(dir, { recursive: true, force: true });
  }
}

/** Contents of a section of a little-endian ELF64 relocatable file, by name. */
function sectionReader(elf: Buffer): (name: string) => Buffer {
  const shoff = Number(elf.readBigUInt64LE(40));
  const header = (i: number) => {
    const at = shoff + i * 64;
    const offset = Number(elf.readBigUInt64LE(at + 24));
    const size = Number(elf.readBigUInt64LE(at + 32));
    return { name: elf.readUInt32LE(at), bytes: elf.subarray(offset, offset + size) };
  };
  const names = header(elf.readUInt16LE(62)).bytes;
  const sections = Array.from({ length: elf.readUInt16LE(60) }, (_, i) => header(i));
  return (name) => {
    const found = sections.find((s) => cString(names, s.name) === name);
    if (!found)
      throw new ScriptError(
        `layout.o has no section ${name}: a compiler with -gbtf (GCC 12 or later) is needed`,
      );
    return found.bytes;
  };
}

function cString(bytes: Buffer, at: number): string {
  return bytes.toString('latin1', at, bytes.indexOf(0, at));
}

function parseBtf(btf: Buffer): BtfType[] {
  if (btf.readUInt16LE(0) !== BTF_MAGIC) throw new ScriptError('.BTF: bad magic');
  const header = btf.readUInt32LE(4);
  const [typeOff, typeLen, strOff] = [8, 12, 16].map((at) => btf.readUInt32LE(at));
  const strings = btf.subarray(header + strOff);
  const types: BtfType[] = [{ kind: 0, name: 'void', size: 0, type: 0 }];
  let at = header + typeOff;
  const end = at + typeLen;
  while (at < end) {
    const info = btf.readUInt32LE(at + 4);
    const vlen = info & 0xffff;
    const kind = (info >>> 24) & 0x1f;
    const [fixed, each] = TRAILER[kind] ?? [0, 0];
    const body = btf.subarray(at + 12, at + 12 + fixed + each * vlen);
    const sizeOrType = btf.readUInt32LE(at + 8);
    const isStruct = kind === KIND.STRUCT || kind === KIND.UNION;
    types.push({
      kind,
      name: cString(strings, btf.readUInt32LE(at)),
      size: sizeOrType,
      type: kind === KIND.ARRAY ? body.readUInt32LE(0) : sizeOrType,
      ...(isStruct ? { members: parseMembers(body, vlen, info >>> 31 === 1, strings) } : {}),
    });
    at += 12 + fixed + each * vlen;
  }
  return types;
}

function parseMembers(body: Buffer, vlen: number, kindFlag: boolean, strings: Buffer): BtfMember[] {
  return Array.from({ length: vlen }, (_, i) => {
    const offset = body.readUInt32LE(i * 12 + 8);
    return {
      name: cString(strings, body.readUInt32LE(i * 12)),
      type: body.readUInt32LE(i * 12 + 4),
      bits: kindFlag ? offset >>> 24 : 0,
      bitOffset: kindFlag ? offset & 0xffffff : offset,
    };
  });
}

/** The structures layout.c names by its v_NAME variables, members of members flattened with '_'. */
function collectStructs(types: readonly BtfType[]): Struct[] {
  const byName = new Map(types.filter((t) => t.kind === KIND.STRUCT && t.name).map((t) => [t.name, t]));
  const source = readFileSync(join(ROOT, 'fixtures/layout/layout.c'), 'utf8');
  const wanted = [...source.matchAll(/^struct (\w+) v_\w+;/gm)].map((m) => m[1]);
  return wanted.map((name) => {
    const type = byName.get(name);
    if (!type) throw new ScriptError(`struct ${name} is not in .BTF`);
    const struct: Struct = { name, size: type.size, fields: {}, bitfields: {} };
    flatten(types, type, 0, '', struct);
    return struct;
  });
}

function flatten(types: readonly BtfType[], type: BtfType, base: number, prefix: string, into: Struct): void {
  const { fields, bitfields } = into;
  for (const member of type.members ?? []) {
    const at = base + member.bitOffset;
    const name = prefix + member.name;
    const inner = resolve(types, member.type);
    if (member.name && member.bits) bitfields[name] = { bit: at, width: member.bits };
    else if (member.name) fields[name] ??= at / 8;
    if (inner.members) flatten(types, inner, at, member.name ? `${name}_` : prefix, into);
  }
}

function resolve(types: readonly BtfType[], id: number): BtfType {
  let type = types[id];
  while (([KIND.TYPEDEF, KIND.VOLATILE, KIND.CONST, KIND.RESTRICT] as number[]).includes(type.kind))
    type = types[type.type];
  return type;
}

function readConstants(bytes: Buffer): Constants {
  const constants: Constants = {};
  for (let at = 0; at < bytes.length; at += CONST_RECORD) {
    constants[cString(bytes, at)] = bytes.readBigInt64LE(at + CONST_NAME);
  }
  // The compiler emits them last first.
  return Object.fromEntries(Object.entries(constants).reverse());
}

function readStrings(bytes: Buffer): Strings {
  const strings: Strings = {};
  for (let at = 0; at < bytes.length; at += STRING_RECORD)
    strings[cString(bytes, at)] = cString(bytes, at + CONST_NAME);
  return strings;
}

function render(structs: readonly Struct[], constants: Constants, strings: Strings): string {
  const lines = [
    '// Offsets, sizes and constants of the kernel whose modules the guest runs.',
    `// Generated by scripts/extract-layout.ts from Debian's headers of ${strings.UTS_RELEASE}: do not edit.`,
    '//',
    "// Members of embedded structures are flattened with '_' (thread.sp is thread_sp); those of anonymous",
    '// ones keep their own name. A bit field is given as the number of its lowest bit in the structure.',
    '',
    'export const LAYOUT = {',
    ...structs.flatMap(renderStruct),
    '} as const;',
    '',
    '/** Addresses, and values beyond the safe integers of JavaScript, are bigint. */',
    'export const CONSTANTS = {',
    ...Object.entries(constants).map(([name, value]) => `  ${name}: ${renderValue(value)},`),
    '} as const;',
    '',
    'export const STRINGS = {',
    ...Object.entries(strings).map(([name, value]) => `  ${name}: '${value}',`),
    '} as const;',
    '',
  ];
  return lines.join('\n');
}

/** The structure with the members that are used; nothing for one that is not. */
function usedPart({ name, size, fields, bitfields }: Struct, used: UsedNames): Struct[] {
  const members = used.members(name);
  const only = <V>(all: Record<string, V>): Record<string, V> =>
    Object.fromEntries(Object.entries(all).filter(([member]) => members.has(member)));
  const part = { name, size, fields: only(fields), bitfields: only(bitfields) };
  const empty = Object.keys(part.fields).length + Object.keys(part.bitfields).length === 0;
  return empty && !members.itself ? [] : [part];
}

function renderUapi(entries: readonly [string, bigint][], strings: Strings): string {
  return [
    '// Numbers of the ABI: errors, signals, flags of system calls and their numbers, as the user knows them. The same in',
    '// every kernel of x86_64, and for that reason no part of the description of one; errors from ERESTARTSYS on, which',
    '// user space never sees, have not changed either.',
    `// Generated by scripts/extract-layout.ts from Debian's headers of ${strings.UTS_RELEASE}: do not edit.`,
    '',
    'export const UAPI = {',
    ...entries.map(([name, value]) => `  ${name}: ${renderValue(value)},`),
    '} as const;',
    '',
  ].join('\n');
}

function renderStruct({ name, size, fields, bitfields }: Struct): string[] {
  return [
    `  ${name}: {`,
    `    size: ${size},`,
    '    fields: {',
    ...Object.entries(fields).map(([field, offset]) => `      ${field}: ${offset},`),
    '    },',
    ...renderBitfields(Object.entries(bitfields)),
    '  },',
  ];
}

function renderBitfields(entries: readonly (readonly [string, { bit: number; width: number }])[]): string[] {
  if (entries.length === 0) return ['    bitfields: {},'];
  const rows = entries.map(([field, b]) => `      ${field}: { bit: ${b.bit}, width: ${b.width} },`);
  return ['    bitfields: {', ...rows, '    },'];
}

/** Kernel addresses become unsigned bigints; errors and masks such as -256 stay small negative numbers. */
function renderValue(value: bigint): string {
  if (value > -65536n && value <= BigInt(Number.MAX_SAFE_INTEGER)) return value.toString();
  return `0x${BigInt.asUintN(64, value).toString(16)}n`;
}
