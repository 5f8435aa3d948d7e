// What a patch module is for, objects, functions and system states, from its file alone: its struct klp_patch is the one
// whose first word is relocated to __this_module, and its second leads to the array of klp_object.
//
// Invariant: nothing of the module is executed or laid out.

import { SHT_RELA } from '../elf/constants.ts';
import type { ElfObject, ElfSection, ElfSymbol } from '../elf/elf_object.ts';
import type { Structs } from '../kernel/description.ts';

interface Pointer {
  readonly symbol: ElfSymbol;
  readonly section: ElfSection | undefined;
  readonly offset: number;
}

/** Pointers in a section, by offset. */
type Pointers = ReadonlyMap<number, Pointer>;

interface PatchedObject {
  /** vmlinux for the kernel. */
  readonly name: string;
  /** old_name of its klp_funcs. */
  readonly functions: readonly string[];
}

export interface FileState {
  readonly id: bigint;
  readonly version: number;
}

interface FilePatch {
  readonly objects: readonly PatchedObject[];
  readonly states: readonly FileState[];
}

/**
 * The klp_patch of a patch module; undefined when none is found.
 * @param structs of the kernel that the module is for
 */
export function klpPatchOf(elf: ElfObject, structs: Structs): FilePatch | undefined {
  for (const section of elf.sections) {
    const pointers = pointersOf(elf, section);
    for (const [offset, pointer] of pointers) {
      if (pointer.symbol.name !== '__this_module') continue;
      const at = offset - structs.klp_patch.fields.mod;
      const objects = pointers.get(at + structs.klp_patch.fields.objs);
      if (!objects?.section) continue;
      const states = pointers.get(at + structs.klp_patch.fields.states);
      return {
        objects: objectsAt(elf, structs, objects.section, objects.offset),
        states: states?.section ? statesAt(elf.data(states.section), structs, states.offset) : [],
      };
    }
  }
  return undefined;
}

function objectsAt(elf: ElfObject, structs: Structs, section: ElfSection, at: number): PatchedObject[] {
  const pointers = pointersOf(elf, section);
  const objects: PatchedObject[] = [];
  for (let offset = at; ; offset += structs.klp_object.size) {
    const name = pointers.get(offset + structs.klp_object.fields.name);
    const funcs = pointers.get(offset + structs.klp_object.fields.funcs);
    if (!name && !funcs) return objects;
    objects.push({ name: stringAt(elf, name) ?? 'vmlinux', functions: functionsAt(elf, structs, funcs) });
  }
}

/** Up to the one with id 0; none where the module fills them in when it runs. */
function statesAt(bytes: Uint8Array, structs: Structs, at: number): FileState[] {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const states: FileState[] = [];
  for (let offset = at; offset + structs.klp_state.size <= bytes.length; offset += structs.klp_state.size) {
    const id = view.getBigUint64(offset + structs.klp_state.fields.id, true);
    if (id === 0n) break;
    states.push({ id, version: view.getUint32(offset + structs.klp_state.fields.version, true) });
  }
  return states;
}

function functionsAt(elf: ElfObject, structs: Structs, funcs: Pointer | undefined): string[] {
  if (!funcs?.section) return [];
  const pointers = pointersOf(elf, funcs.section);
  const names: string[] = [];
  for (let offset = funcs.offset; ; offset += structs.klp_func.size) {
    const name = stringAt(elf, pointers.get(offset + structs.klp_func.fields.old_name));
    if (name === undefined) return names;
    names.push(name);
  }
}

function stringAt(elf: ElfObject, pointer: Pointer | undefined): string | undefined {
  return pointer?.section && cString(elf.data(pointer.section), pointer.offset);
}

function pointersOf(elf: ElfObject, section: ElfSection): Pointers {
  const pointers = new Map<number, Pointer>();
  for (const rela of elf.sections) {
    if (rela.type !== SHT_RELA || rela.info !== section.index || section.index === 0) continue;
    for (const { offset, symbol, addend } of elf.relocationTable(rela.index)) {
      const to = Number(symbol.value) + Number(addend);
      pointers.set(Number(offset), { symbol, section: symbol.section, offset: to });
    }
  }
  return pointers;
}

function cString(bytes: Uint8Array, at: number): string {
  const end = bytes.indexOf(0, at);
  return Buffer.from(bytes.subarray(at, end < 0 ? bytes.length : end)).toString('latin1');
}
