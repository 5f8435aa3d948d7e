// The command schema; the work is loaded when it is called.

import type { Command } from 'commander';

export function addSchema(root: Command): void {
  root
    .command('schema')
    .description('print the JSON schema of scenarios, by which editors complete and check them')
    .addHelpText(
      'after',
      `
For editors that ask a YAML language server, a scenario names it in a comment:
  # yaml-language-server: $schema=./scenario.schema.json

What names a file, a task or a place, and steps that need others before them, are in no schema: 'klpemu run'
tells of those.

Exit codes:
  0  done
  2  bad usage

Example:
  klpemu schema > scenario.schema.json`,
    )
    .action(async () => (await import('./schema.ts')).schema());
}
