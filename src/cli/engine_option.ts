// `--engine` of every command that executes guest code.

import { type Command, Option } from 'commander';
import { ENGINE_OPTION } from '../arch/engine.ts';

export const engineOption = () =>
  new Option('--engine <name>', 'what executes the guest (default: core)').choices(ENGINE_OPTION.choices);

/** Whoever says nothing gets the one that was named: machines of scenarios, threads and processes of this one, too. */
export function heedEngineOption(root: Command): void {
  root.hook('preAction', (_, command) => {
    const { engine } = command.opts<{ engine?: string }>();
    if (engine !== undefined) process.env.KLPEMU_ENGINE = engine;
  });
}
