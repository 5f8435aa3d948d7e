// A check of code that means to end the engine: in a process of its own, which goes with it.

import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { Cli } from '../cli/klpemu.ts';

const ATTACKS = 'fixtures/attacks/klpdemo_attacks.ko';

describe('a check of a module made to end the engine', () => {
  let cli: Cli;
  beforeAll(() => {
    cli = new Cli();
  });
  afterAll(() => cli.remove());

  it.each([[[]], [['--into']]])(
    'looks at all functions and goes nowhere that an iret or an interrupt leads (%j)',
    (flags) => {
      const { status, stdout } = cli.run(['check', '--unwinder', 'fp', '--json', ...flags, ATTACKS]);
      expect(status).toBe(1);
      const [{ check }] = JSON.parse(stdout).objects;
      expect(check.functions).toHaveLength(170);
      expect(check.skippedBecause['interrupts, and returns from them']).toBeGreaterThan(0);
    },
  );
});
