// The files of a livepatch of this model, from patch modules of one object each: those of a bundle, kbuild's or split ones.
//
// Invariant: a module differs from the file that it is made of by its name and by what .modinfo says of names.

import { SHT_PROGBITS } from '../elf/constants.ts';
import { type ElfObject, parseElf } from '../elf/elf_object.ts';
import { rewriteElf, type SectionChange } from '../elf/elf_writer.ts';
import { ElfError } from '../elf/error.ts';
import type { ElfMachine } from '../elf/machine.ts';
import { readModInfo } from '../elf/modinfo.ts';
import { BUILT_IN, type KernelDescription } from '../kernel/description.ts';
import { OBJECT_TAG, submoduleName } from './names.ts';

const THIS_MODULE = '.gnu.linkonce.this_module';

/** Patch modules that cannot be a livepatch of this model. */
export class SubmodulesError extends Error {
  readonly code = 'EINVAL';
  constructor(reason: string) {
    super(reason);
    this.name = 'SubmodulesError';
  }
}

interface Member {
  readonly file: string;
  readonly object: string;
  readonly bytes: Uint8Array;
}

export interface SubmoduleFile {
  readonly module: string;
  readonly file: string;
  readonly object: string;
  readonly bytes: Uint8Array;
}

/** The one for vmlinux first. @throws SubmodulesError, ElfError */
export function makeSubmodules(
  patch: string,
  members: readonly Member[],
  machine: ElfMachine,
  kernel: KernelDescription = BUILT_IN,
): SubmoduleFile[] {
  const main = members.find(({ object }) => object === 'vmlinux');
  if (!main) throw new SubmodulesError(`'${patch}' has no module for vmlinux, by which the others are known`);
  const others = members.filter((member) => member !== main);
  const longest = kernel.constants.MODULE_NAME_LEN - 1;
  const parsed = members.map((member) => ({ ...member, elf: parseElf(member.bytes, member.file, machine) }));
  const nameOf = (object: string): string => (object === 'vmlinux' ? patch : submoduleName(patch, object));
  const renamed = new Map(
    parsed.map(({ elf, object }) => [readModInfo(elf).get('name') ?? '', nameOf(object)] as const),
  );
  return [main, ...others].map(({ object }) => {
    const module = nameOf(object);
    if (module.length > longest)
      throw new SubmodulesError(`module name '${module}' is longer than ${longest} characters`);
    const { elf } = parsed.find((member) => member.object === object) as { elf: ElfObject };
    const objects = object === 'vmlinux' ? others.map((other) => other.object) : [];
    const at = kernel.structs.module.fields.name;
    const bytes = named(elf, module, { objects, renamed, at, length: longest + 1 });
    return { module, file: `${module}.ko`, object, bytes };
  });
}

interface Naming {
  readonly objects: readonly string[];
  /** New names by old ones. */
  readonly renamed: ReadonlyMap<string, string>;
  /** struct module.name */
  readonly at: number;
  readonly length: number;
}

function named(elf: ElfObject, module: string, naming: Naming): Uint8Array {
  const changes = [
    changed(elf, THIS_MODULE, (data) => {
      data.fill(0, naming.at, naming.at + naming.length);
      data.set(Buffer.from(module), naming.at);
      return data;
    }),
    changed(elf, '.modinfo', () => Buffer.from(modinfo(elf, module, naming), 'utf8')),
  ];
  return new Uint8Array(Buffer.concat(rewriteElf(elf, changes)));
}

function modinfo(elf: ElfObject, module: string, { objects, renamed }: Naming): string {
  const entries = readModInfo(elf).entries.filter(([tag]) => tag !== OBJECT_TAG);
  const told = entries.map(([tag, value]): [string, string] => {
    if (tag === 'name') return [tag, module];
    if (tag !== 'depends') return [tag, value];
    return [
      tag,
      value
        .split(',')
        .map((name) => renamed.get(name) ?? name)
        .join(','),
    ];
  });
  const named = told.some(([tag]) => tag === 'name') ? told : [...told, ['name', module]];
  return [...named, ...objects.map((object) => [OBJECT_TAG, object])]
    .map(([tag, value]) => `${tag}=${value}\0`)
    .join('');
}

function changed(elf: ElfObject, name: string, change: (data: Uint8Array) => Uint8Array): SectionChange {
  const section = elf.section(name);
  if (section?.type !== SHT_PROGBITS) throw new ElfError(elf.file, `no section ${name}`);
  const { index, type, flags, align, entsize } = section;
  return { name, index, type, flags, align, entsize, data: change(new Uint8Array(elf.data(section))) };
}
