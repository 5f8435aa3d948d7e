// A check of code that means to end the engine: in a process of its own, which goes with it.

import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { Cli } from '../cli/klpemu.ts';
import { NO_UNICORN } from '../guest/unicorn_there.ts';

const ATTACKS = 'fixtures/attacks/klpdemo_attacks.ko';

/** The one that this is about is left out where there is none, and it is said. */
if (NO_UNICORN) console.warn(NO_UNICORN);
const ENGINES = NO_UNICORN ? ['core'] : ['core', 'unicorn'];

describe('a check of a module made to end the engine', () => {
  let cli: Cli;
  beforeAll(() => {
    cli = new Cli();
  });
  afterAll(() => cli.remove());

  it.each(ENGINES.flatMap((engine) => [[engine], [engine, '--into']]))(
    'looks at all functions and goes nowhere that an iret or an interrupt leads (%s %s)',
    (engine, ...into) => {
      const flags = ['--engine', engine, '--unwinder', 'fp', '--json', ...into];
      const { status, stdout } = cli.run(['check', ...flags, ATTACKS]);
      expect(status).toBe(1);
      const [{ check }] = JSON.parse(stdout).objects;
      expect(check.functions).toHaveLength(170);
      expect(check.skippedBecause['interrupts, and returns from them']).toBeGreaterThan(0);
    },
  );
});
