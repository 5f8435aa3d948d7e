// What an object file says of the module in it: its struct module, its parameters, the symbols it exports.
// Mirrors what modpost writes into NAME.mod.c and what include/linux/moduleparam.h and export.h lay down.
//
// Nothing here is relocated: a pointer is the symbol and addend that its relocation names.

import { SHN_UNDEF } from './constants.ts';
import type { ElfObject, ElfRelocation, ElfSection, ElfSymbol } from './elf_object.ts';
import { paramInfo, readModInfo } from './modinfo.ts';

export const THIS_MODULE_SECTION = '.gnu.linkonce.this_module';
/** MODULE_NAME_LEN: 64 - sizeof(unsigned long). */
const MODULE_NAME_LEN = 56;

/** A pointer in an object file. */
export interface ElfPointer {
  readonly symbol: ElfSymbol;
  readonly addend: bigint;
}

/** Offsets of members of struct module; they differ between kernel builds. */
interface ModuleOffsets {
  readonly name: number;
  readonly init: number;
  readonly exit: number;
}

interface ThisModule {
  readonly section: ElfSection;
  readonly name: string;
  readonly init: ElfPointer | undefined;
  readonly exit: ElfPointer | undefined;
}

/** The struct module of the object; undefined when it is not a module. @throws ElfError */
export function readThisModule(elf: ElfObject, offsets: ModuleOffsets): ThisModule | undefined {
  const section = elf.section(THIS_MODULE_SECTION);
  if (!section) return undefined;
  const data = elf.data(section);
  const field = data.subarray(offsets.name, offsets.name + MODULE_NAME_LEN);
  if (field.length < MODULE_NAME_LEN) {
    throw elf.error(`struct module of ${data.length} bytes has no room for a name`, section.name);
  }
  if (field.indexOf(0) < 0) throw elf.error("module name isn't null terminated", section.name, offsets.name);
  return {
    section,
    name: elf.stringAt(section, offsets.name),
    init: pointerAt(elf, section, offsets.init),
    exit: pointerAt(elf, section, offsets.exit),
  };
}

/** The pointer that a relocation puts at an offset of a section; undefined for none. */
export function pointerAt(elf: ElfObject, section: ElfSection, offset: number): ElfPointer | undefined {
  const found = elf.relocations(section.index).find((r) => r.offset === offset);
  return found && { symbol: found.symbol, addend: found.addend };
}

interface ElfParam {
  readonly name: string;
  readonly type: string | undefined;
  readonly description: string | undefined;
  /** The param_ops_* symbol. */
  readonly ops: string;
  readonly perm: number;
  readonly level: number;
  readonly flags: number;
  /** The variable, or the kparam_string or kparam_array that describes it. */
  readonly arg: ElfPointer | undefined;
}

/** sizeof(struct kernel_param) and its members, the same on every 64-bit kernel since 4.2. */
const KERNEL_PARAM = { size: 40, name: 0, ops: 16, perm: 24, level: 26, flags: 27, arg: 32 };

/** The module's parameters in the order of __param. @throws ElfError */
export function readParams(elf: ElfObject): readonly ElfParam[] {
  const section = elf.section('__param');
  if (!section) return [];
  if (section.size % KERNEL_PARAM.size !== 0) {
    throw elf.error(`parameter table of ${section.size} bytes`, section.name);
  }
  const view = elf.view(section);
  const info = paramInfo(readModInfo(elf));
  const pointers = new Map(elf.relocations(section.index).map((r) => [r.offset, r]));
  const params: ElfParam[] = [];
  for (let at = 0; at + KERNEL_PARAM.size <= view.byteLength; at += KERNEL_PARAM.size) {
    const name = stringOf(elf, pointers.get(at + KERNEL_PARAM.name));
    if (name === undefined) throw elf.error('parameter without a name', section.name, at);
    const ops = pointers.get(at + KERNEL_PARAM.ops);
    const arg = pointers.get(at + KERNEL_PARAM.arg);
    params.push({
      name,
      type: info.get(name)?.type,
      description: info.get(name)?.description,
      ops: ops ? elf.symbolLabel(ops.symbol) : '',
      perm: view.getUint16(at + KERNEL_PARAM.perm, true),
      level: view.getInt8(at + KERNEL_PARAM.level),
      flags: view.getUint8(at + KERNEL_PARAM.flags),
      arg: arg && { symbol: arg.symbol, addend: arg.addend },
    });
  }
  return params;
}

/** The C string that a relocation points to, when it points into the object itself. */
function stringOf(elf: ElfObject, relocation: ElfRelocation | undefined): string | undefined {
  const section = relocation?.symbol.section;
  if (!relocation || !section) return undefined;
  return elf.stringAt(section, Number(relocation.symbol.value + relocation.addend));
}

/** Symbols that the object takes from elsewhere, in symbol table order. */
export function undefinedSymbols(elf: ElfObject): readonly ElfSymbol[] {
  return elf.symbols.filter((s) => s.index > 0 && s.shndx === SHN_UNDEF && s.name !== '');
}
