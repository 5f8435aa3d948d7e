// What each x86-64 relocation type writes, and when that is an error.
// Mirrors __apply_relocate_add() of arch/x86/kernel/module.c; messages are the kernel's.

import { RelocationError } from '../../../elf/error.ts';
import type { ElfMachine, RelocationKind } from '../../../elf/machine.ts';
import type { RelocationSite } from '../../module_text.ts';

interface RelocationType extends RelocationKind {
  readonly type: number;
  /** How the written bytes are read back: the value must survive that. */
  readonly range: 'any' | 'u32' | 's32';
}

/**
 * The types that kbuild emits. The kernel has the range check of PC32 and PLT32 compiled out, because text, modules
 * and address zero are all within 2 GiB of a module; what it would corrupt in silence is an error here.
 */
const RELOCATION_TYPES: readonly RelocationType[] = [
  { type: 0, name: 'R_X86_64_NONE', width: 0, pcRelative: false, range: 'any' },
  { type: 1, name: 'R_X86_64_64', width: 8, pcRelative: false, range: 'any' },
  { type: 2, name: 'R_X86_64_PC32', width: 4, pcRelative: true, range: 's32' },
  { type: 4, name: 'R_X86_64_PLT32', width: 4, pcRelative: true, range: 's32' },
  { type: 10, name: 'R_X86_64_32', width: 4, pcRelative: false, range: 'u32' },
  { type: 11, name: 'R_X86_64_32S', width: 4, pcRelative: false, range: 's32' },
  { type: 24, name: 'R_X86_64_PC64', width: 8, pcRelative: true, range: 'any' },
];

export const R_X86_64_64 = 1;
export const R_X86_64_PC32 = 2;
export const R_X86_64_PLT32 = 4;
export const R_X86_64_32S = 11;

const BY_TYPE = new Map(RELOCATION_TYPES.map((t) => [t.type, t]));

/** Names of types that the kernel does not apply, for messages. */
const OTHER_NAMES: readonly (readonly [number, string])[] = [
  [3, 'GOT32'],
  [5, 'COPY'],
  [6, 'GLOB_DAT'],
  [7, 'JUMP_SLOT'],
  [8, 'RELATIVE'],
  [9, 'GOTPCREL'],
  [12, '16'],
  [13, 'PC16'],
  [14, '8'],
  [15, 'PC8'],
  [16, 'DTPMOD64'],
  [17, 'DTPOFF64'],
  [18, 'TPOFF64'],
  [19, 'TLSGD'],
  [20, 'TLSLD'],
  [21, 'DTPOFF32'],
  [22, 'GOTTPOFF'],
  [23, 'TPOFF32'],
  [25, 'GOTOFF64'],
  [26, 'GOTPC32'],
  [32, 'SIZE32'],
  [33, 'SIZE64'],
  [34, 'GOTPC32_TLSDESC'],
  [35, 'TLSDESC_CALL'],
  [36, 'TLSDESC'],
  [37, 'IRELATIVE'],
  [41, 'GOTPCRELX'],
  [42, 'REX_GOTPCRELX'],
];
const OTHER = new Map(OTHER_NAMES);

/** EM_X86_64 */
export const ELF_MACHINE: ElfMachine = { number: 62, relocations: BY_TYPE };

export function relocationTypeName(type: number): string {
  const known = BY_TYPE.get(type);
  if (known) return known.name;
  const name = OTHER.get(type);
  return name === undefined ? `relocation type ${type}` : `R_X86_64_${name}`;
}

/**
 * Writes one relocation.
 * @param target bytes that hold the place, at `at`
 * @param place address of the place
 * @param value S + A
 * @throws RelocationError before anything is written
 */
export function applyRelocation(
  target: DataView,
  at: number,
  place: bigint,
  value: bigint,
  site: RelocationSite,
): void {
  const row = BY_TYPE.get(site.type);
  if (!row) throw failure(site, `Unknown rela relocation: ${site.type}`);
  if (row.width === 0) return;
  if (at + row.width > target.byteLength) {
    throw failure(site, `relocation of ${row.width} bytes runs out of its section`);
  }
  const sum = BigInt.asUintN(64, value);
  const existing = row.width === 8 ? target.getBigUint64(at, true) : BigInt(target.getUint32(at, true));
  const result = BigInt.asUintN(64, row.pcRelative ? sum - place : sum);
  if (existing !== 0n) throw failure(site, invalidTarget(row.type, place, sum), sum);
  if (!inRange(row, result)) {
    throw failure(site, `overflow in relocation type ${row.type} val ${result.toString(16)}`, result);
  }
  if (row.width === 8) target.setBigUint64(at, result, true);
  else target.setUint32(at, Number(BigInt.asUintN(32, result)), true);
}

/** Puts back the zero that applyRelocation() found, as clear_relocate_add() of later kernels does. */
export function clearRelocation(target: DataView, offset: number, type: number): void {
  const width = BY_TYPE.get(type)?.width ?? 0;
  if (width === 8) target.setBigUint64(offset, 0n, true);
  else if (width === 4) target.setUint32(offset, 0, true);
}

function inRange(row: RelocationType, value: bigint): boolean {
  if (row.range === 'u32') return value === BigInt.asUintN(32, value);
  if (row.range === 's32') return BigInt.asIntN(64, value) === BigInt.asIntN(32, value);
  return true;
}

function invalidTarget(type: number, place: bigint, value: bigint): string {
  const loc = place.toString(16).padStart(16, '0');
  return (
    'x86/modules: Skipping invalid relocation target, existing value is nonzero for type ' +
    `${type}, loc ${loc}, val ${value.toString(16)}`
  );
}

function failure(site: RelocationSite, reason: string, value?: bigint): RelocationError {
  const { file, section, offset, symbol, type } = site;
  const typeName = relocationTypeName(type);
  return new RelocationError(file, reason, { section, offset, symbol, type, typeName, value });
}
