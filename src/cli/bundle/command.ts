// The options of klpemu bundle.

import { type Command, Option } from 'commander';
import { DEFAULT_NAME } from '../shell/options.ts';

const layoutOption = (): Option =>
  new Option(
    '--kernel <file>',
    'kernel whose structures the modules have: a vmlinuz or vmlinux, or the release of an installed one',
  );

export function addBundle(root: Command): void {
  const bundle = root
    .command('bundle')
    .description('make patch bundles (.klpb), look at them, enable and disable them');
  const members: string[] = [];
  const targets: string[] = [];
  bundle
    .command('create')
    .description('make a bundle of patch modules, one an object')
    .argument('<file>', 'the bundle to write (.klpb)')
    .argument('<member...>', 'patch modules (.ko), in the order of their callbacks')
    .requiredOption('--name <name>', 'name of the bundle')
    .option('--bundle-version <text>', 'its version', '1')
    .option('--replace', 'it replaces all older bundles')
    .addOption(layoutOption())
    .option(
      '--target <file>',
      'a target module, whose srcversion members are for; may be repeated',
      (path) => {
        targets.push(path);
        return targets;
      },
    )
    .addHelpText(
      'after',
      `
Example:
  klpemu bundle create fix.klpb fixtures/modules/klpbundle_p1_core.ko fixtures/modules/klpbundle_p1_top.ko \\
    --name fix --target fixtures/modules/klpbundle_top.ko`,
    )
    .action(async (file: string, files: string[], options) => {
      members.push(...files);
      (await import('./bundle.ts')).create(file, members, { ...options, targets });
    });
  addSplit(bundle);
  for (const [name, text] of [
    ['inspect', 'print what a bundle holds'],
    ['verify', 'check manifest, hashes and members'],
  ] as const) {
    bundle
      .command(name)
      .description(text)
      .argument('<file>', 'bundle (.klpb)')
      .addOption(layoutOption())
      .option('--json', 'as one JSON object')
      .addHelpText('after', `\nExample:\n  klpemu bundle ${name} fixtures/bundles/v1.klpb`)
      .action(async (file: string, options) => (await import('./bundle.ts'))[name](file, options));
  }
  addSubmodules(bundle);
  addEnabling(bundle);
}

function addSplit(bundle: Command): void {
  const targets: string[] = [];
  bundle
    .command('split')
    .description('make a bundle of one patch module for several objects: a member for each of them')
    .argument('<module>', 'patch module (.ko)')
    .option('-o, --output <file>', 'the bundle to write (.klpb)')
    .option('--dry-run', 'print what members there would be, and write nothing')
    .option('--name <name>', "name of the bundle: the module's where nothing is said")
    .option('--bundle-version <text>', 'its version', '1')
    .option('--replace', 'it replaces all older bundles; where the module says so itself, too')
    .option(
      '--target <file>',
      'a target module, whose srcversion members are for; may be repeated',
      (path) => {
        targets.push(path);
        return targets;
      },
    )
    .addOption(layoutOption())
    .option('--json', 'as one JSON object')
    .addHelpText(
      'after',
      `
Exit codes:
  0  the bundle is written; with --dry-run, it could be
  1  the module cannot be split, for the reasons that are printed; nothing is written
  2  bad usage, or a file that is no patch module or contradicts itself; nothing is written

Example:
  klpemu bundle split fixtures/modules/klpdemo_patch_both.ko -o fix.klpb --name fix
  klpemu bundle inspect fix.klpb`,
    )
    .action(async (file: string, options) => {
      (await import('./split.ts')).split(file, { ...options, targets });
    });
}

function addSubmodules(bundle: Command): void {
  bundle
    .command('submodules')
    .description('write the members of a bundle as modules of the model of per-object modules')
    .argument('<file>', 'bundle (.klpb) with a member for vmlinux')
    .requiredOption('-o, --output <folder>', 'where to: NAME.ko and NAME__OBJECT.ko')
    .addOption(layoutOption())
    .option('--json', 'as one JSON object')
    .addHelpText(
      'after',
      `
Exit codes:
  0  the modules are written
  2  bad usage, a file that is no bundle, or a bundle without a member for vmlinux; nothing is written

Example:
  klpemu bundle create fix.klpb fixtures/modules/klpbundle_p1_vmlinux.ko fixtures/modules/klpbundle_p1_core.ko --name fix
  klpemu bundle submodules fix.klpb -o modules
  klpemu shell --model 'per-object modules' --file modules`,
    )
    .action(async (file: string, options) => (await import('./submodules.ts')).submodules(file, options));
}

const EXIT_CODES = `
Exit codes:
  0  it is enabled, or disabled; with --wait, its transition is over
  1  the kernel refused, and the machine is as it was; or the transition was not over in time
  2  no such file, or no machine is up`;

function addEnabling(bundle: Command): void {
  for (const { name, argument, about, text, example } of [
    {
      name: 'enable',
      argument: '<file>',
      about: 'bundle (.klpb)',
      text: 'load a bundle into the machine that is up, and enable it',
      example: `
  klpemu up --model bundle
  klpemu bundle enable fixtures/bundles/v1.klpb --wait`,
    },
    {
      name: 'disable',
      argument: '<bundle>',
      about: 'its name',
      text: 'disable a bundle of the machine that is up',
      example: '\n  klpemu bundle disable steps_v1 --wait',
    },
  ] as const) {
    bundle
      .command(name)
      .description(text)
      .argument(argument, about)
      .addOption(new Option('--name <name>', 'which machine').default(DEFAULT_NAME))
      .option('--wait', 'let time pass until the transition is over')
      .option('--timeout <seconds>', 'how long at most, in virtual time: 60 where nothing is said')
      .option('--json', 'as one JSON object')
      .addHelpText('after', `${EXIT_CODES}\n\nExample:${example}`)
      .action(async (operand: string, options) => (await import('./enable.ts'))[name](operand, options));
  }
}
