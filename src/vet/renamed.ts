// A livepatch under another name, with `replace` set: what comes after it, and has the same functions.
//
// Invariant: bytes of the file's own sections are changed, and no section moves.

import { X86_64 } from '../arch/x86_64/x86_64.ts';
import { contentsOf } from '../bundle/contents.ts';
import { BundleError } from '../bundle/error.ts';
import { createBundle } from '../bundle/format.ts';
import { Graph } from '../bundle/split/graph.ts';
import { Places } from '../bundle/split/places.ts';
import { readUber } from '../bundle/split/uber.ts';
import type { ElfObject } from '../elf/elf_object.ts';
import { readThisModule } from '../elf/module_object.ts';
import type { KernelDescription } from '../kernel/description.ts';
import type { PatchFile } from './patch_file.ts';
import type { Livepatch, Subject } from './subject.ts';

/** Behind the name, or over its last letter where there is no room. */
const MARK = '_2';
const NAME = 'name=';
/** Where names of symbols are. */
const NAMES = ['.strtab', '__ksymtab_strings', '__versions'];

/** undefined for one whose klp_patch its init makes, and for a bundle that cannot be put together again. */
export function renamed(subject: Subject, kernel: KernelDescription): Livepatch | undefined {
  const { isBundle, params, members } = subject;
  if (isBundle) return renamedBundle(subject, kernel);
  const copy = renamedModule(members[0], kernel);
  if (!copy) return undefined;
  const { elf } = members[0];
  const { patch } = readUber(new Graph(new Places(elf, X86_64.code), kernel.structs), kernel);
  if (!patch) return undefined;
  copy.bytes[patch.atom.section.offset + patch.offset + kernel.structs.klp_patch.fields.replace] = 1;
  return { ...copy, params, isBundle };
}

/** Each member has another name, and what it exports for others. */
function renamedBundle({ name, members }: Subject, kernel: KernelDescription): Livepatch | undefined {
  const exported = new Set(members.flatMap(({ elf }) => contentsOf(elf).exports));
  const files = members.flatMap((member) => {
    const copy = renamedModule(member, kernel);
    if (!copy) return [];
    renameSymbols(copy.bytes, member.elf, exported);
    return [{ file: `${copy.name}.ko`, bytes: copy.bytes }];
  });
  if (files.length < members.length) return undefined;
  const source = { name: `${name}${MARK}`, version: '2', replace: true, files, targets: new Map() };
  try {
    return {
      name: source.name,
      params: '',
      isBundle: true,
      bytes: createBundle(source, X86_64.elf, kernel),
    };
  } catch (error) {
    if (error instanceof BundleError) return undefined;
    throw error;
  }
}

function renamedModule(
  { elf, name, bytes }: PatchFile,
  { structs, constants }: KernelDescription,
): { readonly name: string; readonly bytes: Uint8Array } | undefined {
  const module = readThisModule(elf, { ...structs.module.fields, nameLength: constants.MODULE_NAME_LEN });
  if (!module) return undefined;
  const room = constants.MODULE_NAME_LEN - 1;
  const other = `${name.slice(0, room - MARK.length)}${MARK}`;
  const copy = Buffer.from(bytes);
  const at = module.section.offset + structs.module.fields.name;
  copy.fill(0, at, at + constants.MODULE_NAME_LEN);
  copy.write(other, at, 'latin1');
  forgetName(copy, elf);
  return { name: other, bytes: new Uint8Array(copy) };
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

/**
 * The first letter of each name is another one: all begin alike in a bundle that was split, and end in numbers, so that no
 * two of them become one, and their order stays.
 */
function renameSymbols(bytes: Uint8Array, elf: ElfObject, names: ReadonlySet<string>): void {
  for (const section of elf.sections.filter(({ name }) => NAMES.includes(name))) {
    const part = Buffer.from(bytes.buffer, bytes.byteOffset + section.offset, section.size);
    for (const name of names) {
      const other = otherLetter(name);
      const whole = `${name}\0`;
      for (let at = part.indexOf(whole, 0, 'latin1'); at >= 0; at = part.indexOf(whole, at + 1, 'latin1')) {
        // Not the end of another one, which shares its string.
        if (at === 0 || part[at - 1] === 0) part.write(other, at, 'latin1');
      }
    }
  }
}

/** Capital for small and small for capital. */
function otherLetter([first]: string): string {
  if (!/[a-z]/i.test(first)) return '@';
  return first === first.toLowerCase() ? first.toUpperCase() : first.toLowerCase();
}
