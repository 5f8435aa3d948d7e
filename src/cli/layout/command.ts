// The options of `klpemu layout`; the work is loaded when it is called.

import type { Command } from 'commander';

const EXIT_CODES = `
Exit codes:
  0  done
  1  one of the names is of no structure, enumeration or field
  2  bad usage, or a file that cannot be used`;

export function addLayout(root: Command): void {
  root
    .command('layout')
    .description('print where the fields of structures lie in a kernel, by its own types (BTF)')
    .usage('[options] [STRUCT...] FILE')
    .argument(
      '<argument...>',
      'STRUCT: a structure, union, typedef or enumeration, STRUCT.FIELD, or an enumerator; without one all ' +
        'are listed. FILE: bzImage, vmlinux, module, or a file of /sys/kernel/btf',
    )
    .option('--base <file>', "the kernel that a module's types go on from")
    .option('--json', 'as one JSON object')
    .addHelpText(
      'after',
      `${EXIT_CODES}

Examples:
  klpemu layout klp_func /boot/vmlinuz-$(uname -r)
  klpemu layout task_struct.patch_state module.klp /boot/vmlinuz-$(uname -r)`,
    )
    .action(async (args: string[], options) => (await import('./layout.ts')).layout(args, options));
}
