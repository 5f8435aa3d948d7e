// A livepatch under another name, with `replace` set: what comes after it, and has the same functions.
//
// Invariant: bytes of the file's own sections are changed, and no section moves.

import { X86_64 } from '../arch/x86_64/x86_64.ts';
import { Graph } from '../bundle/split/graph.ts';
import { Places } from '../bundle/split/places.ts';
import { readUber } from '../bundle/split/uber.ts';
import type { ElfObject } from '../elf/elf_object.ts';
import { readThisModule } from '../elf/module_object.ts';
import type { KernelDescription } from '../kernel/description.ts';
import type { PatchFile } from './patch_file.ts';
import type { LoadedModule } from './world.ts';

/** Behind the name, or over its last letter where there is no room. */
const MARK = '_2';
const NAME = 'name=';

/** undefined for one whose klp_patch its init makes. */
export function renamed(
  { elf, name, bytes, params }: PatchFile,
  kernel: KernelDescription,
): LoadedModule | undefined {
  const { structs, constants } = kernel;
  const module = readThisModule(elf, { ...structs.module.fields, nameLength: constants.MODULE_NAME_LEN });
  const { patch } = readUber(new Graph(new Places(elf, X86_64.code), structs), kernel);
  if (!module || !patch) return undefined;
  const room = constants.MODULE_NAME_LEN - 1;
  const other = `${name.slice(0, room - MARK.length)}${MARK}`;
  const copy = Buffer.from(bytes);
  const at = module.section.offset + structs.module.fields.name;
  copy.fill(0, at, at + constants.MODULE_NAME_LEN);
  copy.write(other, at, 'latin1');
  forgetName(copy, elf);
  copy[patch.atom.section.offset + patch.offset + structs.klp_patch.fields.replace] = 1;
  return { name: other, bytes: new Uint8Array(copy), params };
}

/** What .modinfo says is its name would come before that of its struct module. */
function forgetName(copy: Buffer, elf: ElfObject): void {
  const section = elf.section('.modinfo');
  if (!section) return;
  const start = section.offset;
  for (let at = start; at >= start && at < start + section.size; at = copy.indexOf(0, at) + 1) {
    if (copy.toString('latin1', at, at + NAME.length) === NAME) copy.write('NAME', at, 'latin1');
    if (copy.indexOf(0, at) < 0) return;
  }
}
