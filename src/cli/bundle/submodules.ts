// klpemu bundle submodules: a bundle's members as modules of the model of per-object modules (docs/submodules.md).

import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { X86_64 } from '../../arch/x86_64/x86_64.ts';
import { readBundle } from '../../bundle/format.ts';
import type { KernelDescription } from '../../kernel/description.ts';
import { makeSubmodules, type SubmoduleFile, SubmodulesError } from '../../submodules/make.ts';
import { systemReason, UsageError } from '../exit.ts';
import { counted } from '../numbers.ts';
import { print, printFolded } from '../terminal.ts';
import { writeNamed } from '../write_whole.ts';
import { bytesOf, checked } from './files.ts';
import { layoutOf } from './kernel.ts';

interface SubmodulesOptions {
  readonly output: string;
  readonly json?: boolean;
  readonly kernel?: string;
}

export function submodules(file: string, { output, json = false, kernel }: SubmodulesOptions): void {
  const made = checked(file, () => modulesOf(file, layoutOf(kernel)));
  try {
    mkdirSync(output, { recursive: true });
  } catch (error) {
    throw new UsageError(`${output}: ${systemReason(error)}`);
  }
  for (const { file: name, bytes } of made) writeNamed(join(output, name), bytes);
  const list = made.map(({ module, object, bytes }) => ({ module, object, size: bytes.length }));
  if (json) print(`${JSON.stringify({ file, output, modules: list })}\n`);
  else printFolded(`${output}: ${counted(made.length, 'module')}: ${made.map((m) => m.file).join(', ')}\n`);
}

function modulesOf(file: string, kernel: KernelDescription): SubmoduleFile[] {
  const { name, members } = readBundle(bytesOf(file), X86_64.elf, kernel);
  try {
    return makeSubmodules(name.replace(/[^\w]/g, '_'), members, X86_64.elf, kernel);
  } catch (error) {
    if (error instanceof SubmodulesError) throw new UsageError(`${file}: ${error.message}`);
    throw error;
  }
}
