// The options of `klpemu vet`; the work is loaded when it is called.

import type { Command } from 'commander';
import { Option } from 'commander';
import { kernelOption } from '../scenario_options.ts';

const EXIT_CODES = `
Exit codes:
  0  good: every part was looked at, and nothing is against any of the patches
  1  not good: something is against one
  2  bad usage, a file or kernel that cannot be used; or nothing is against them, and not all was looked at`;

export function addVet(root: Command): void {
  root
    .command('vet')
    .description(
      'the verdict on livepatches: whether they load, can be patched in, are sound for the unwinder, may stall, and come and go',
    )
    .argument(
      '<patch...>',
      'livepatch modules (.ko, also .xz, .zst, .gz) and bundles (.klpb); of several each alone, then all in this order',
    )
    .addOption(kernelOption())
    .addOption(
      new Option(
        '--modules <dir>',
        "modules that they may be for, as /lib/modules/RELEASE has them; by default those of an installed kernel that --kernel names, and of the built-in kernel the fixtures'",
      ),
    )
    .addOption(
      new Option('--replaces <old.ko>', 'a livepatch that is enabled before; may be given again').argParser(
        (path: string, before: string[] = []) => [...before, path],
      ),
    )
    .option('--params <text>', 'module parameters of the patches, as insmod takes them')
    .option('--vmlinux-only', 'objects that are modules are left out')
    .option('--json', 'as one JSON object')
    .addHelpText(
      'after',
      `${EXIT_CODES}

Examples:
  klpemu vet fixtures/modules/klpdemo_patch_vmlinux.ko
  klpemu vet mypatch.ko --kernel $(uname -r) --replaces previous.ko`,
    )
    .action(async (patches: string[], options) => (await import('./vet.ts')).vetFiles(patches, options));
}
