// What a member has, by its file: functions and data by name, what it exports, what it takes from other members, and
// relocations against symbols of its object.

import { SHF_RELA_LIVEPATCH, SHN_LIVEPATCH, STT_FUNC, STT_OBJECT } from '../elf/constants.ts';
import type { ElfObject } from '../elf/elf_object.ts';
import { undefinedSymbols } from '../elf/module_object.ts';
import { BundleError } from './error.ts';

export interface Contents {
  readonly functions: readonly string[];
  readonly data: readonly string[];
  readonly exports: readonly string[];
  /** All that is undefined in it. */
  readonly imports: readonly string[];
  /** Against symbols that livepatch resolves: in sections of its own, which the classic model applies late, or ordinary. */
  readonly relocations: { readonly late: number; readonly ordinary: number };
}

/** @throws ElfError */
export function contentsOf(elf: ElfObject): Contents {
  const named = (type: number): string[] =>
    elf.symbols.filter((s) => s.type === type && s.section && s.name !== '').map(({ name }) => name);
  let [late, ordinary] = [0, 0];
  for (const rela of elf.relaSections) {
    const rows = elf.relocationTable(rela.index);
    if (rela.flags & SHF_RELA_LIVEPATCH) late += rows.length;
    else ordinary += rows.filter(({ symbol }) => symbol.shndx === SHN_LIVEPATCH).length;
  }
  return {
    functions: named(STT_FUNC),
    data: named(STT_OBJECT),
    exports: exportsOf(elf),
    imports: undefinedSymbols(elf).map(({ name }) => name),
    relocations: { late, ordinary },
  };
}

/** Each export has its name among these strings, and is a symbol of the module. */
function exportsOf(elf: ElfObject): string[] {
  const section = elf.section('__ksymtab_strings');
  if (!section) return [];
  const strings = new Set(Buffer.from(elf.data(section)).toString('latin1').split('\0'));
  return elf.symbols.filter((s) => s.section && s.name !== '' && strings.has(s.name)).map(({ name }) => name);
}

interface Linked {
  readonly file: string;
  readonly contents: Pick<Contents, 'exports' | 'imports'>;
}

/** Names that a member takes from others of its bundle, by the file that has them. */
export function takenFrom(member: Linked, members: readonly Linked[]): ReadonlyMap<string, string> {
  const owners = new Map(
    members.flatMap(({ file, contents }) => contents.exports.map((name) => [name, file])),
  );
  const taken = member.contents.imports.flatMap((name): [string, string][] => {
    const owner = owners.get(name);
    return owner === undefined || owner === member.file ? [] : [[name, owner]];
  });
  return new Map(taken);
}

/** Members that need each other could not be loaded, one after the other. @throws BundleError */
export function checkNoCycle(members: readonly Linked[]): void {
  const needs = new Map(members.map((m) => [m.file, new Set(takenFrom(m, members).values())]));
  const done = new Set<string>();
  const path: string[] = [];
  const visit = (file: string): void => {
    if (path.includes(file)) {
      const circle = [...path.slice(path.indexOf(file)), file].join(' needs ');
      throw new BundleError('EINVAL', `members need each other: ${circle}`);
    }
    if (done.has(file)) return;
    path.push(file);
    for (const other of needs.get(file) ?? []) visit(other);
    path.pop();
    done.add(file);
  };
  for (const { file } of members) visit(file);
}
