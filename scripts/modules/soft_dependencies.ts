// What modprobe loads before a module beside what it cannot do without: MODULE_SOFTDEP("pre: ..."), by names and aliases. Of
// aliases those of algorithms are known, which are in kernel/crypto; an instance for some processor's instructions is none of these.

import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { parseElf } from '../../src/elf/elf_object.ts';
import type { ElfMachine } from '../../src/elf/machine.ts';
import { readModInfo } from '../../src/elf/modinfo.ts';
import { MODULE_FILE, moduleName, unpack } from '../../src/elf/unpack.ts';

export class SoftDependencies {
  readonly #elf: ElfMachine;
  /** Names of modules by each alias of theirs. */
  readonly #aliases = new Map<string, string[]>();

  /** @param folder /lib/modules/RELEASE */
  constructor(elf: ElfMachine, folder: string) {
    this.#elf = elf;
    const crypto = join(folder, 'kernel/crypto');
    const files = readdirSync(crypto, { recursive: true, encoding: 'utf8' }).filter((file) =>
      MODULE_FILE.test(file),
    );
    for (const file of files.sort()) {
      const path = join(crypto, file);
      for (const alias of this.#entries(unpack(new Uint8Array(readFileSync(path)), path), path, 'alias'))
        this.#aliases.set(underscored(alias), [
          ...(this.#aliases.get(underscored(alias)) ?? []),
          moduleName(file),
        ]);
    }
  }

  /** Names of modules, or aliases nobody has, that a module is to come behind. */
  before(bytes: Uint8Array, name: string): string[] {
    return this.#entries(bytes, name, 'softdep').flatMap((text) => {
      const words = text.split(/\s+/);
      const from = words.indexOf('pre:') + 1;
      const to = words.indexOf('post:');
      if (from === 0) return [];
      return words
        .slice(from, to > from ? to : undefined)
        .map(underscored)
        .flatMap((wanted) => this.#aliases.get(wanted) ?? [wanted]);
    });
  }

  #entries(bytes: Uint8Array, file: string, key: string): readonly string[] {
    return readModInfo(parseElf(bytes, file, this.#elf)).getAll(key);
  }
}

const underscored = (name: string): string => name.replaceAll('-', '_');
