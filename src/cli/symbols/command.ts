// The options of `klpemu symbols`; the work is loaded when it is called.

import type { Command } from 'commander';

const EXIT_CODES = `
Exit codes:
  0  done
  1  one of the names or addresses is no symbol's
  2  bad usage, or a file that cannot be used`;

export function addSymbols(root: Command): void {
  root
    .command('symbols')
    .description('list the symbols of a kernel image, with the sizes of its functions')
    .argument('<file>', 'bzImage as in /boot (gzip, xz, zstd, lz4), or a vmlinux with kallsyms')
    .argument('[name...]', 'only these: names, patterns (* and ?), or addresses (0x...)')
    .option('--functions', 'functions alone')
    .option('--summary', 'what the image is and how many symbols it has of each kind')
    .option('--json', 'as one JSON object')
    .addHelpText(
      'after',
      `
Needs no debug package: kallsyms is found in the image by its shape. Functions end where the next one
begins, without what fills up between; labels and marks of the linker have no size. Types are nm's.
${EXIT_CODES}

Examples:
  klpemu symbols /boot/vmlinuz-$(uname -r) 'klp_*'
  klpemu symbols /boot/vmlinuz-$(uname -r) --summary`,
    )
    .action(async (file: string, names: string[], options) =>
      (await import('./symbols.ts')).symbols(file, names, options),
    );
}
