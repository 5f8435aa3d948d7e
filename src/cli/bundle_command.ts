// The options of klpemu bundle and klpemu compare.

import type { Command } from 'commander';

export function addBundle(root: Command): void {
  const bundle = root.command('bundle').description('make and look at patch bundles (.klpb)');
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
    .option(
      '--target <file>',
      'a target module, whose srcversion members are for; may be repeated',
      (path) => {
        targets.push(path);
        return targets;
      },
    )
    .action(async (file: string, files: string[], options) => {
      members.push(...files);
      (await import('./bundle.ts')).create(file, members, { ...options, targets });
    });
  for (const [name, text] of [
    ['inspect', 'print what a bundle holds'],
    ['verify', 'check manifest, hashes and members'],
  ] as const) {
    bundle
      .command(name)
      .description(text)
      .argument('<file>', 'bundle (.klpb)')
      .option('--json', 'as one JSON object')
      .action(async (file: string, options) => (await import('./bundle.ts'))[name](file, options));
  }
  root
    .command('compare')
    .description('run one workload under the classic and the bundle model and compare')
    .argument('<file>', 'workload (YAML)')
    .option('--json', 'as one JSON object')
    .addHelpText('after', '\nExample:\n  klpemu compare fixtures/bundles/middle.yaml')
    .action(async (file: string, options) => (await import('./compare.ts')).compare(file, options));
}
