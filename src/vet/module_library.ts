// Modules that a livepatch may be for, by name: from a folder such as /lib/modules/RELEASE, packed or not, with those that each
// needs.
//
// Invariant: a file is read when its module is asked for, and of two with one name the one that is less deep down.

import { readdirSync, readFileSync, statSync } from 'node:fs';
import { basename, join } from 'node:path';
import { parseElf } from '../elf/elf_object.ts';
import type { ElfMachine } from '../elf/machine.ts';
import { readModInfo } from '../elf/modinfo.ts';
import { MODULE_FILE, unpack } from '../elf/unpack.ts';
import { VetError } from './patch_file.ts';

interface LibraryModule {
  readonly name: string;
  readonly bytes: Uint8Array;
}

interface Read extends LibraryModule {
  readonly depends: readonly string[];
}

/** Underscores, as the kernel has it. */
const moduleName = (file: string): string =>
  basename(file)
    .replace(/\.ko(\.\w+)?$/, '')
    .replaceAll('-', '_');

export class ModuleLibrary {
  /** Where it looks; undefined: nowhere. */
  readonly folder: string | undefined;
  readonly #elf: ElfMachine;
  readonly #files = new Map<string, string>();
  readonly #read = new Map<string, Read>();

  /** @throws VetError for a folder that is none */
  constructor(elf: ElfMachine, folder: string | undefined) {
    this.folder = folder;
    this.#elf = elf;
    if (folder === undefined) return;
    if (!statSync(folder, { throwIfNoEntry: false })?.isDirectory())
      throw new VetError(`${folder}: no such directory`);
    const depth = (path: string): number => path.split('/').length;
    const files = readdirSync(folder, { recursive: true, encoding: 'utf8' }).filter((file) =>
      MODULE_FILE.test(file),
    );
    for (const file of files.sort((a, b) => depth(a) - depth(b))) {
      const name = moduleName(file);
      if (!this.#files.has(name)) this.#files.set(name, join(folder, file));
    }
  }

  has(name: string): boolean {
    return this.#files.has(name);
  }

  /** A module behind those that it needs; undefined where it, or one of them, is not there. @throws ElfError */
  order(name: string, before: ReadonlySet<string> = new Set()): readonly LibraryModule[] | undefined {
    const own = this.#module(name);
    if (!own || before.has(name)) return undefined;
    const order: LibraryModule[] = [];
    for (const needed of own.depends) {
      const theirs = this.order(needed, new Set([...before, name]));
      if (!theirs) return undefined;
      for (const one of theirs) if (!order.some((known) => known.name === one.name)) order.push(one);
    }
    return [...order, own];
  }

  #module(name: string): Read | undefined {
    const known = this.#read.get(name);
    const path = this.#files.get(name);
    if (known || path === undefined) return known;
    const bytes = unpack(new Uint8Array(readFileSync(path)), path);
    const depends = readModInfo(parseElf(bytes, path, this.#elf)).get('depends') ?? '';
    const module = {
      name,
      bytes,
      depends: depends
        .split(',')
        .filter(Boolean)
        .map((one) => one.replaceAll('-', '_')),
    };
    this.#read.set(name, module);
    return module;
  }
}
