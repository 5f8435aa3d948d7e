// Where a machine's chances come from: the generators of its seed, and who chooses by them.

import { Choices, SeededChooser } from '../../kernel/choices.ts';
import { SeededRandom } from '../../kernel/random.ts';

export interface Chance {
  /** Of what the guest sees as random, too. */
  readonly random: SeededRandom;
  readonly choices: Choices;
}

export function makeChance(seed: number): Chance {
  const random = new SeededRandom(seed);
  return { random, choices: new Choices(seededChooser(seed, random)) };
}

/** @param kernel the generator that tasks and timers are drawn from; one of its own, where none is given */
export function seededChooser(seed: number, kernel = new SeededRandom(seed)): SeededChooser {
  return new SeededChooser(new SeededRandom(seed ^ 0x5bd1e995), kernel);
}
