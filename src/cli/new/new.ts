// klpemu new: which of the modules is the livepatch, and where its first scenario goes.

import { readFileSync, writeFileSync } from 'node:fs';
import { dirname, relative, resolve } from 'node:path';
import { X86_64 } from '../../arch/x86_64/x86_64.ts';
import { parseElf } from '../../elf/elf_object.ts';
import { ElfError } from '../../elf/error.ts';
import { readModInfo } from '../../elf/modinfo.ts';
import { readThisModule } from '../../elf/module_object.ts';
import { unpack } from '../../elf/unpack.ts';
import { BUILT_IN } from '../../kernel/description.ts';
import { hostFile } from '../../scenario/host_file.ts';
import { readPatch } from '../../vet/patch_file.ts';
import { EXIT, systemReason, UsageError } from '../exit.ts';
import { print, printError } from '../terminal.ts';
import { firstScenario, type GivenModule } from './first_scenario.ts';

interface NewOptions {
  readonly output: string;
}

export function newScenario(paths: readonly string[], { output }: NewOptions): void {
  const isPrinted = output === '-';
  const file = resolve(isPrinted ? 'first.yaml' : output);
  const modules = paths.map((path) => readModule(path, dirname(file)));
  const [patch, another] = modules.filter(({ isLivepatch }) => isLivepatch);
  if (!patch) throw new UsageError(`new: none of them is a livepatch: ${paths.join(', ')}`);
  if (another) throw new UsageError(`new: ${patch.path} and ${another.path} are livepatches: one of them`);
  const command = commandFor(file, isPrinted ? 'first.yaml' : output, modules);
  const text = firstScenario({ command, modules, patch });
  if (isPrinted) print(text);
  else {
    writeNew(output, text);
    printError(`klpemu: to run it: ${command}\n`);
  }
  process.exitCode = EXIT.ok;
}

function readModule(path: string, folder: string): GivenModule {
  try {
    const bytes = unpack(readFileSync(path), path);
    const elf = parseElf(bytes, path, X86_64.elf);
    const info = readModInfo(elf);
    const { module } = BUILT_IN.structs;
    const named = readThisModule(elf, { ...module.fields, nameLength: BUILT_IN.constants.MODULE_NAME_LEN });
    const builtFor = info.get('vermagic')?.split(' ', 1)[0];
    const isLivepatch = info.get('livepatch') === 'Y';
    // Of another kernel's structures the built-in description says nothing.
    const patch =
      isLivepatch && builtFor === BUILT_IN.release ? readPatch(path, bytes, X86_64, BUILT_IN) : undefined;
    return {
      path,
      given: relative(folder, resolve(path)),
      name: info.get('name') ?? named?.name ?? path,
      builtFor,
      isLivepatch,
      objects: patch && !patch.unread ? patch.objects : undefined,
    };
  } catch (error) {
    if (error instanceof ElfError) throw new UsageError(error.message);
    throw error;
  }
}

/** Nobody's file is lost. */
function writeNew(path: string, text: string): void {
  try {
    writeFileSync(path, text, { flag: 'wx' });
  } catch (error) {
    throw new UsageError(`${path}: ${systemReason(error)}`);
  }
}

function commandFor(file: string, output: string, modules: readonly GivenModule[]): string {
  const isFar = modules.some(({ given }) => 'problem' in hostFile(file, given, {}));
  return `klpemu run ${output}${isFar ? ' --allow-files' : ''}`;
}
