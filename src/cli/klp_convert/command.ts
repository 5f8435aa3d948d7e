// The options of klpemu klp-convert.

import type { Command } from 'commander';

export function addKlpConvert(root: Command): void {
  root
    .command('klp-convert')
    .description('make a livepatch that uses local symbols of its objects loadable')
    .argument('<in>', 'livepatch module with unresolved symbols (.ko)')
    .argument('<out>', 'where the converted one is written')
    .option('-s, --symbols <file...>', 'lists of OBJECT.SYMBOL,POSITION lines, or Symbols.list files')
    .option('--for-split', 'it is split into a bundle before it is loaded: nothing is resolved too late then')
    .option('--json', 'what was converted, as one JSON object')
    .addHelpText(
      'after',
      `
Unresolved symbols that a list names, or the module annotates with KLP_MODULE_RELOC, become
.klp.sym.OBJECT.SYMBOL,POSITION; the relocations against them go to .klp.rela.OBJECT.SECTION sections.
POSITION counts symbols of the same name in an object from 1; 0, or none, where there is only one.
Exit codes: 0 converted, 1 converted, but a line of a list names nothing that is used, 2 refused.

Example:
  klpemu klp-convert fixtures/modules/klpdemo_patch_local.ko converted.ko`,
    )
    .action(async (input: string, output: string, options) =>
      (await import('./klp_convert.ts')).convert(input, output, options),
    );
}
