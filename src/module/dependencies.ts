// What module files need of each other, by the symbols that they export and import. Mirrors depmod.

import type { ElfObject } from '../elf/elf_object.ts';
import { undefinedSymbols } from '../elf/module_object.ts';
import { moduleName } from '../elf/unpack.ts';

export interface ModuleFile {
  readonly name: string;
  /** Absolute, in the guest. */
  readonly path: string;
  readonly imports: readonly string[];
  readonly exports: readonly string[];
}

export function moduleFile(path: string, elf: ElfObject): ModuleFile {
  const imports = undefinedSymbols(elf).map((s) => s.name);
  return { name: moduleName(path), path, imports, exports: exportedNames(elf) };
}

/** EXPORT_SYMBOL() leaves an object `__ksymtab_NAME` for each. */
function exportedNames(elf: ElfObject): string[] {
  const prefix = '__ksymtab_';
  return elf.symbols.flatMap(({ name, section }) =>
    section?.name.startsWith(prefix.slice(0, -1)) && name.startsWith(prefix)
      ? [name.slice(prefix.length)]
      : [],
  );
}

/** Which file exports a symbol; the last of several. */
export function symbolOwners(files: readonly ModuleFile[]): ReadonlyMap<string, ModuleFile> {
  const owners = new Map<string, ModuleFile>();
  for (const file of files) for (const symbol of file.exports) owners.set(symbol, file);
  return owners;
}

export function directDependencies(
  file: ModuleFile,
  owners: ReadonlyMap<string, ModuleFile>,
): readonly ModuleFile[] {
  const found = new Set<ModuleFile>();
  for (const symbol of file.imports) {
    const owner = owners.get(symbol);
    if (owner && owner !== file) found.add(owner);
  }
  return [...found];
}

/**
 * All that a module needs, each after what needs it: modules.dep is read from the right.
 * @param warnings what depmod says of cycles
 */
export function loadOrder(
  file: ModuleFile,
  direct: (file: ModuleFile) => readonly ModuleFile[],
  warnings: string[],
): ModuleFile[] {
  const order: ModuleFile[] = [];
  const state = new Map<ModuleFile, 'open' | 'done'>();
  const visit = (at: ModuleFile): void => {
    state.set(at, 'open');
    for (const next of direct(at)) {
      if (state.get(next) === 'open')
        warnings.push(`depmod: ERROR: Cycle detected: ${at.name} -> ${next.name} -> ${at.name}`);
      else if (!state.has(next)) visit(next);
    }
    state.set(at, 'done');
    if (at !== file) order.push(at);
  };
  visit(file);
  return order.reverse();
}
