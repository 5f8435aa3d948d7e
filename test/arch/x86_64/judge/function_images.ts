// The functions of a module as they are executed by themselves: sections of code whose relocations lead to the areas of
// data or to a stub, and the functions in them, which end where
// they ask a device or the machine: what those answer is not the processor's to say.

import { R_X86_64_PC32, R_X86_64_PLT32 } from '../../../../src/arch/x86_64/module/relocation.ts';
import { SHF_EXECINSTR, STT_FUNC } from '../../../../src/elf/constants.ts';
import type { ElfObject, ElfRelocation } from '../../../../src/elf/elf_object.ts';
import type { ElfSection } from '../../../../src/elf/sections.ts';
import { MODULES_VADDR, PAGE_OFFSET } from '../../../../src/guest/addr.ts';
import { USER_STACK_BASE } from '../../../../src/guest/windows.ts';
import { decodeAt, Insn, MACHINE } from '../../../../src/isa/decoder.ts';
import { seedOf } from './draw.ts';

/** As `ret` and `hlt`: what calls come to, and what the function returns to. */
export const STUBS = MODULES_VADDR;
const RET_AT = STUBS;
export const HLT_AT = STUBS + 0x800n;
export const AREA_BYTES = 0x8000;
/** Data in the reach of relocations, data that pointers lead to, the stack. */
export const DATA = MODULES_VADDR + 0x10000n;
/** In the lower half, where a pointer taken for a number is no NaN. */
export const HEAP = USER_STACK_BASE + 0x10000n;
export const STACK = PAGE_OFFSET + 0x20000n;
export const TEXT = MODULES_VADDR + 0x20000n;
export const AREAS = [DATA, HEAP, STACK];

export interface FunctionText {
  readonly name: string;
  readonly offset: number;
  readonly size: number;
}

/** A section of code whose relocations lead to the areas, and its functions. */
export interface TextImage {
  readonly bytes: Uint8Array;
  /** There is arithmetic of numbers with a point in it. */
  readonly computes: boolean;
  readonly functions: readonly FunctionText[];
}

/** Bytes of the data that symbols are given places in, and their distance. */
const PLACES = BigInt(AREA_BYTES / 2);
const APART = 64n;

/**
 * What a relocation's field stands for, sum and all: a place in the section, the stub of calls, or some data. Code of
 * other sections is not there: what goes to it returns.
 */
function fieldOf({ symbol, type, addend }: ElfRelocation, section: ElfSection): bigint {
  if (symbol.section === section) return TEXT + symbol.value + addend;
  const isCode = symbol.section !== undefined && (symbol.section.flags & SHF_EXECINSTR) !== 0;
  // Relative to the end of a field of four bytes.
  const toEnd = type === R_X86_64_PC32 || type === R_X86_64_PLT32 ? 4n : 0n;
  if (isCode || type === R_X86_64_PLT32) return RET_AT - toEnd;
  const of = BigInt(seedOf(symbol.name || String(symbol.shndx))) * APART + symbol.value + addend + toEnd;
  return DATA + (((of % PLACES) + PLACES) % PLACES) - toEnd;
}

const insn = new Insn();

/** Flags and fences: registers and memory decide what they do. */
const PLAIN = new Set([0x9d, 0xfa, 0xfb, 0xfd, 0x0f77]);

/** What a device, the clock, or the state of the machine answers: no two judges have it alike. */
function asksMachine({ facts, opcode, mod, reg }: Insn): boolean {
  if ((facts & MACHINE) === 0 || PLAIN.has(opcode)) return false;
  const ext = reg & 7;
  // 0F AE: mxcsr and the fences are the processor's alone; 0F C7: cmpxchg8b and cmpxchg16b are.
  if (opcode === 0x0fae) return mod === 3 ? ext < 5 : ext < 2 || (ext > 3 && ext < 7);
  return opcode !== 0x0fc7 || ext !== 1;
}

const HLT = 0xf4;

/** ADDPS to MAXPS with their conversions, and SQRTPS. */
const isArithmetic = ({ opcode }: Insn): boolean =>
  opcode === 0x0f51 || (opcode >= 0x0f58 && opcode <= 0x0f5f);

/** A function ends where it asks, and where VEX begins what Unicorn reads as something else: the host judges that. @returns whether it computes */
function endWhereAsked(bytes: Uint8Array, from: number, to: number): boolean {
  let computes = false;
  for (let at = from; at < to; at += insn.length || 1) {
    decodeAt(bytes, at, 0, insn);
    if (insn.length > 0 && (insn.vex || asksMachine(insn))) bytes[at] = HLT;
    else if (insn.length > 0 && isArithmetic(insn)) computes = true;
  }
  return computes;
}

export function imagesOf(elf: ElfObject): TextImage[] {
  return elf.sections
    .filter(({ flags, size }) => flags & SHF_EXECINSTR && size > 0)
    .map((section) => {
      const bytes = elf.data(section).slice();
      const view = new DataView(bytes.buffer);
      for (const relocation of elf.relocations(section.index)) {
        const { offset, type } = relocation;
        const value = fieldOf(relocation, section);
        const relative = type === R_X86_64_PC32 || type === R_X86_64_PLT32;
        if (type === 1) view.setBigUint64(offset, BigInt.asUintN(64, value), true);
        else
          view.setInt32(
            offset,
            Number(BigInt.asIntN(32, relative ? value - TEXT - BigInt(offset) : value)),
            true,
          );
      }
      const inSection = elf.symbols.filter(
        (symbol) => symbol.type === STT_FUNC && symbol.section === section,
      );
      const functions = inSection.map(({ name, value, size }) => ({ name, offset: Number(value), size }));
      let computes = false;
      for (const { value, size } of inSection)
        computes = endWhereAsked(bytes, Number(value), Number(value) + size) || computes;
      return { bytes, computes, functions };
    });
}
