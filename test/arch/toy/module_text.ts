// What loading does to a module of the made-up architecture: three types of relocations, and branches that are an
// instruction, whichever they are.

import type { BranchSites, ModuleBytes, ModuleText, RelocationSite } from '../../../src/arch/module_text.ts';
import { RelocationError } from '../../../src/elf/error.ts';
import type { ElfMachine } from '../../../src/elf/machine.ts';
import type { Addr } from '../../../src/guest/addr.ts';
import { decode, encode, INSN_SIZE, R } from './isa.ts';

/** Of toy objects: 4 bytes that count from their place, 4 bytes with a sign, 8 bytes. */
export const [R_TOY_PC32, R_TOY_32S, R_TOY_64] = [101, 102, 103];
/** A machine number that nobody has. */
export const ELF_MACHINE: ElfMachine = {
  number: 0xfe0d,
  relocations: new Map([
    [R_TOY_PC32, { name: 'R_TOY_PC32', width: 4, pcRelative: true }],
    [R_TOY_32S, { name: 'R_TOY_32S', width: 4, pcRelative: false }],
    [R_TOY_64, { name: 'R_TOY_64', width: 8, pcRelative: false }],
  ]),
};
const width = (type: number): number => ELF_MACHINE.relocations.get(type)?.width ?? 0;

function failure({ file, section, offset, symbol, type }: RelocationSite, reason: string): RelocationError {
  return new RelocationError(file, reason, {
    section,
    offset,
    symbol,
    type,
    typeName: ELF_MACHINE.relocations.get(type)?.name ?? `${type}`,
    value: undefined,
  });
}

/** A branch from one instruction to another. @throws RangeError for a target out of reach */
export function distance(from: Addr, to: Addr): number {
  const bytes = BigInt.asIntN(64, to - from - BigInt(INSN_SIZE));
  if (bytes !== BigInt.asIntN(32, bytes)) throw new RangeError(`0x${to.toString(16)} is out of reach`);
  return Number(bytes);
}

const insnAt = (mem: ModuleBytes, at: Addr) => decode(mem.readBytes(at, INSN_SIZE));
const jump = (from: Addr, to: Addr): Uint8Array => encode('bl', { imm: distance(from, to) });

const BRANCHES: BranchSites = {
  jumpLabelAt(mem, code) {
    const insn = insnAt(mem, code);
    if (insn?.op !== 'bl' && insn?.op !== 'add') return undefined;
    return { size: INSN_SIZE, isJump: insn.op === 'bl' };
  },
  jump,
  nop: () => encode('add'),
  staticCallReach: INSN_SIZE,
  staticCallFault: (mem, site) => (insnAt(mem, site) ? undefined : 'no instruction'),
  inlinedCalls: {},
  staticCall(site, func, tail) {
    if (func === 0n) return tail ? encode('br', { b: R.lr }) : encode('add');
    return tail ? jump(site, func) : encode('bl', { a: R.lr, imm: distance(site, func) });
  },
};

export const MODULE_TEXT: ModuleText = {
  relocations: {
    apply(target, at, place, value, site) {
      const size = width(site.type);
      const bytes = new Uint8Array(target.buffer, target.byteOffset + at, size);
      if (size === 0) throw failure(site, `Unknown rela relocation: ${site.type}`);
      if (bytes.some((byte) => byte !== 0)) throw failure(site, 'existing value is nonzero');
      const written = BigInt.asIntN(64, site.type === R_TOY_PC32 ? value - place : value);
      if (size === 8) target.setBigInt64(at, written, true);
      else if (written !== BigInt.asIntN(32, written)) throw failure(site, 'the value does not fit');
      else target.setInt32(at, Number(written), true);
    },
    clear(target, at, type) {
      new Uint8Array(target.buffer, target.byteOffset + at, width(type)).fill(0);
    },
  },
  features: { hasNamed: () => false, selector: () => () => false },
  tables: [],
  branches: BRANCHES,
};
