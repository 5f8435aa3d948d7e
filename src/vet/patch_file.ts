// A livepatch as its file has it: which functions of which objects it replaces, by which of its own, and its callbacks.

import type { CheckableArch } from '../arch/arch.ts';
import { Graph } from '../bundle/split/graph.ts';
import { Places } from '../bundle/split/places.ts';
import { readUber } from '../bundle/split/uber.ts';
import type { Pointer } from '../bundle/split/uber_tables.ts';
import { STT_FUNC } from '../elf/constants.ts';
import { type ElfObject, parseElf } from '../elf/elf_object.ts';
import { ElfError } from '../elf/error.ts';
import { readModInfo } from '../elf/modinfo.ts';
import { readThisModule } from '../elf/module_object.ts';
import type { KernelDescription } from '../kernel/description.ts';

export interface NewFunction {
  /** Of the function that it replaces. */
  readonly name: string;
  /** Which of those of that name, from 1; 0: the only one. */
  readonly sympos: number;
  /** Its own. */
  readonly newName: string;
  readonly newSize: number;
}

interface PatchedObject {
  /** undefined: the kernel itself. */
  readonly module: string | undefined;
  readonly functions: readonly NewFunction[];
  readonly callbacks: readonly string[];
}

export interface PatchFile {
  readonly path: string;
  readonly bytes: Uint8Array;
  readonly elf: ElfObject;
  /** As it is called when it is loaded. */
  readonly name: string;
  /** Of the module, as insmod has them. */
  readonly params: string;
  /** vermagic's first word. */
  readonly builtFor: string | undefined;
  readonly objects: readonly PatchedObject[];
  /** Why the file does not say what it patches. */
  readonly unread?: string;
}

/** What is wrong with a file that is to be vetted. */
export class VetError extends Error {
  override readonly name = 'VetError';
  readonly code = 'EINVAL';
}

const KERNEL = 'vmlinux';

/**
 * @param isMember of a bundle
 * @throws VetError for what is no livepatch, ElfError for what is no object of the machine
 */
export function readPatch(
  path: string,
  bytes: Uint8Array,
  arch: CheckableArch,
  kernel: KernelDescription,
  params = '',
  isMember = false,
): PatchFile {
  const elf = parseElf(bytes, path, arch.elf);
  const info = readModInfo(elf);
  if (info.get('livepatch') !== 'Y')
    throw new VetError(`${path}: not a livepatch: no 'livepatch=Y' in .modinfo`);
  const about = {
    path,
    bytes,
    params,
    elf,
    name: nameOf(elf, kernel) ?? info.get('name') ?? path,
    builtFor: info.get('vermagic')?.split(' ', 1)[0],
  };
  try {
    const uber = readUber(new Graph(new Places(elf, arch.code, isMember), kernel.structs), kernel);
    const objects = uber.objects.map(
      ({ name, functions, callbacks }): PatchedObject => ({
        module: name === KERNEL ? undefined : name,
        functions: functions.map(({ name: old, sympos, newFunc }) => ({
          name: old,
          sympos: Number(sympos),
          ...newFunction(elf, newFunc),
        })),
        callbacks: [...callbacks.keys()],
      }),
    );
    return { ...about, objects };
  } catch (error) {
    if (!(error instanceof ElfError)) throw error;
    return { ...about, objects: [], unread: error.message };
  }
}

/** What fills the room before a function, in later kernels, and falls into it: a piece of code begins with that symbol. */
const PREFIX = /^__(?:pfx|cfi)_/;

/** The function that begins where the pointer leads to. */
function newFunction(elf: ElfObject, { atom, offset }: Pointer): Pick<NewFunction, 'newName' | 'newSize'> {
  const symbol = elf.symbols.find(
    ({ section, value, type, name }) =>
      type === STT_FUNC &&
      section?.index === atom.section.index &&
      Number(value) === offset &&
      !PREFIX.test(name),
  );
  return { newName: symbol?.name ?? atom.label, newSize: Number(symbol?.size ?? 0n) || atom.end - offset };
}

function nameOf(elf: ElfObject, { structs, constants }: KernelDescription): string | undefined {
  return readThisModule(elf, { ...structs.module.fields, nameLength: constants.MODULE_NAME_LEN })?.name;
}
