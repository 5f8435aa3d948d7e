// klpemu bundle split: an uber patch module made a bundle, or what would become of it.

import { X86_64 } from '../../arch/x86_64/x86_64.ts';
import { createBundle } from '../../bundle/format.ts';
import { type Split, type SplitMember, SplitRefused, splitUber } from '../../bundle/split/split.ts';
import { moduleName } from '../../elf/unpack.ts';
import type { KernelDescription } from '../../kernel/description.ts';
import { EXIT, UsageError } from '../exit.ts';
import { counted } from '../numbers.ts';
import { print, printError, printFolded } from '../terminal.ts';
import { writeNamed } from '../write_whole.ts';
import { bytesOf, checked } from './files.ts';
import { layoutOf } from './kernel.ts';

interface SplitOptions {
  readonly output?: string;
  readonly dryRun?: boolean;
  readonly name?: string;
  readonly bundleVersion: string;
  readonly replace?: boolean;
  readonly targets: readonly string[];
  readonly kernel?: string;
  readonly json?: boolean;
}

export function split(file: string, options: SplitOptions): void {
  const { output, json = false } = options;
  if (output === undefined && !options.dryRun)
    throw new UsageError('name the bundle to write with -o, or ask for --dry-run');
  const name = options.name ?? moduleName(file);
  const kernel = layoutOf(options.kernel);
  const made = checked(file, () => parts(file, name, json, kernel));
  if (!made) return;
  const targets = options.targets.map((path) => [moduleName(path), bytesOf(path)] as const);
  const bytes = checked(file, () =>
    createBundle(
      {
        name,
        version: options.bundleVersion,
        replace: options.replace === true || made.replace,
        files: made.members,
        targets: new Map(targets),
      },
      X86_64.elf,
      kernel,
    ),
  );
  if (json) print(`${JSON.stringify(objectOf(made, name))}\n`);
  else if (options.dryRun) print(textOf(made));
  if (options.dryRun || output === undefined) return;
  writeNamed(output, bytes);
  if (!json)
    printFolded(`${output}: ${counted(bytes.length, 'byte')}, ${counted(made.members.length, 'member')}\n`);
}

/** Undefined for a module that cannot be split, which has been told. */
function parts(file: string, name: string, json: boolean, kernel: KernelDescription): Split | undefined {
  const { elf, code } = X86_64;
  if (!code) throw new UsageError('this port has no decoder of code');
  try {
    return splitUber(bytesOf(file), file, name, { elf, code }, kernel);
  } catch (error) {
    if (!(error instanceof SplitRefused)) throw error;
    process.exitCode = EXIT.failed;
    if (json) print(`${JSON.stringify({ file, refused: error.reasons })}\n`);
    else
      for (const line of [`${error.message}:`, ...error.reasons.map((r) => `  ${r}`)])
        printError(`${line}\n`);
    return undefined;
  }
}

function textOf({ members, shared, left }: Split): string {
  const list = (what: string, names: readonly string[]): string =>
    names.length > 0 ? `  ${what}: ${names.join(', ')}\n` : '';
  const text = members.map(
    ({ object, file, bytes, functions, data, copied, states }) =>
      `${object}: ${file}, ${counted(bytes.length, 'byte')}\n` +
      list('functions', functions) +
      list('data', data) +
      list('copied, other members have it too', copied) +
      (states ? '  system states\n' : ''),
  );
  return `${text.join('')}${list('shared state', shared).trimStart()}${list('in no member', left).trimStart()}`;
}

function objectOf({ members, shared, left }: Split, name: string) {
  const described = members.map(({ bytes, ...member }: SplitMember) => ({ ...member, size: bytes.length }));
  return { name, members: described, shared, left };
}
