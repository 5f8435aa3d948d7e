// The options of `klpemu check`; the work is loaded when it is called.

import { type Command, InvalidArgumentError, Option } from 'commander';
import { ORC_FORMATS } from '../../arch/x86_64/objtool/orc_formats.ts';
import { UNWINDERS } from '../../check/verdicts.ts';
import { engineOption } from '../engine_option.ts';

const EXIT_CODES = `
Exit codes:
  0  all was looked at, and no place is wrong and declared reliable
  1  one is, with all by any unwinder; or of an object not a single answer is right
  2  bad usage, or an object that cannot be used, or not as a whole: a table that
     cannot be read, bytes that are no instruction, code that no path gets to
     because one before it could not be followed, a function that runs out of itself`;

function threads(text: string): number {
  const value = Number(text);
  if (Number.isInteger(value) && value > 0 && value <= 256) return value;
  throw new InvalidArgumentError('It must be a number of threads.');
}

export function addCheck(root: Command): void {
  root
    .command('check')
    .description(
      'execute every instruction of kernel objects, and hold the unwinder against what is true there',
    )
    .argument(
      '[object...]',
      'modules, objects, vmlinux with symbols (also .xz, .zst, .gz), folders, or patterns',
    )
    .addOption(
      new Option(
        '--unwinder <name>',
        "whose answers: those of the object's ORC table, of frame pointers alone, of its SFrame or its DWARF table; or of all of them, side by side",
      )
        .choices([...UNWINDERS, 'all'])
        .default('orc'),
    )
    .addOption(engineOption())
    .option('--into', 'follow calls within an object as well, and ask for every frame that is live then')
    .option('--image', "the guest kernel's own code instead: explored, and executed on the booted machine")
    .option('--functions', 'a line for each function that has wrong or unreached instructions')
    .addOption(
      new Option(
        '--format <kernel>',
        "layout of the objects' ORC entries: the kernel that had it first; by default told by the object",
      ).choices(ORC_FORMATS),
    )
    .addOption(new Option('-j, --jobs <number>', 'threads; by default one a core').argParser(threads))
    .option('--json', 'as one JSON object')
    .option('-q, --quiet', 'only what is wrong or fails, and the sums')
    .addHelpText(
      'after',
      `${EXIT_CODES}\n\nExamples:\n  klpemu check /lib/modules/$(uname -r)/kernel/fs\n  klpemu check --unwinder fp --functions fixtures/modules/frame-pointer/klpdemo_target.ko\n  klpemu check --unwinder all --functions fs/fuse/dir.o`,
    )
    .action(async (objects: string[], options) => (await import('./check.ts')).check(objects, options));
}
