// The options of `klpemu orc`; the work is loaded when it is called.

import { type Command, InvalidArgumentError, Option } from 'commander';
import { ORC_FORMATS } from '../../arch/x86_64/objtool/orc_formats.ts';

const EXIT_CODES = `
Exit codes:
  0  done; with --diff, every table is the same as the one in its object
  1  with --diff, a table differs
  2  bad usage, or an object that cannot be used, or not as a whole: bytes that are
     no instruction; with --diff, functions without a table to compare with`;

function threads(text: string): number {
  const value = Number(text);
  if (Number.isInteger(value) && value > 0 && value <= 256) return value;
  throw new InvalidArgumentError('It must be a number of threads.');
}

export function addOrc(root: Command): void {
  root
    .command('orc')
    .description('make ORC tables from the code of kernel objects')
    .argument('<object...>', 'modules and objects (.ko, .o, also .xz, .zst, .gz), folders, or patterns')
    .option('-o, --output <path>', 'write copies with the tables: a folder, or for one object a file')
    .option('--diff', "compare with the objects' own tables, and say who is wrong where they differ")
    .option('--dump', 'print the entries')
    .addOption(
      new Option(
        '--format <kernel>',
        'layout of the entries, to read and to write: the kernel that had it first; by default told by the object',
      ).choices(ORC_FORMATS),
    )
    .addOption(new Option('-j, --jobs <number>', 'threads; by default one a core').argParser(threads))
    .option('--json', 'as one JSON object')
    .option('-q, --quiet', 'only what differs or fails, and the sums')
    .addHelpText(
      'after',
      `${EXIT_CODES}\n\nExamples:\n  klpemu orc --diff /lib/modules/$(uname -r)/kernel/fs\n  klpemu orc fixtures/modules/klpdemo_target.ko -o with-tables.ko`,
    )
    .action(async (objects: string[], options) => (await import('./orc.ts')).orc(objects, options));
}
