// Does it load? By loading it, with the modules that it is for before it; the kernel's own words if not.

import { exitText } from './cycle.ts';
import type { Finding } from './finding.ts';
import type { Subject } from './subject.ts';
import type { World } from './world.ts';

interface Loaded {
  readonly findings: readonly Finding[];
  readonly isLoaded: boolean;
}

/** What every out-of-tree module says, and no fault. */
const USUAL = /taints kernel|tainting kernel|verification failed/;

const finding = (weight: Finding['weight'], text: string, lines: readonly string[] = []): Finding => ({
  part: 'loads',
  weight,
  text,
  ...(lines.length > 0 ? { lines } : {}),
});

/** Leaves it loaded where it loads. @param targets modules that it is for */
export function loads(world: World, patch: Subject, targets: readonly string[]): Loaded {
  const before = targetsLoaded(world, targets);
  const { findings, isLoaded } = enabledOn(world, patch);
  return { findings: [...before, ...findings], isLoaded };
}

/** What is said of those that do not load. */
export function targetsLoaded(world: World, targets: readonly string[]): Finding[] {
  return targets.flatMap((target) => {
    const outcome = world.loadFromLibrary(target);
    if (outcome?.exit === 0) return [];
    const why = outcome ? exitText(outcome.exit) : 'is not there with all that it needs';
    return [finding('not seen', `${target}, which it is for, ${why}`, outcome?.log)];
  });
}

export function enabledOn(world: World, patch: Subject): Loaded {
  const oopses = world.oopses.length;
  const { exit, log } = world.load(patch);
  const words = log.filter((line) => !USUAL.test(line));
  if (world.oopses.length > oopses) {
    const lines = world.oopses.slice(oopses);
    return { findings: [finding('bad', 'an oops as it loads', lines)], isLoaded: false };
  }
  if (exit !== 0)
    return { findings: [finding('bad', `loading it ${exitText(exit)}`, words)], isLoaded: false };
  const release = world.machine.inspect.core.kernel.release;
  const others = new Set(
    patch.members.map(({ builtFor = release }) => builtFor).filter((one) => one !== release),
  );
  return {
    findings: [
      finding('good', `it loads into ${release}, and is enabled`),
      ...[...others].map((other) => finding('told', `it was built for ${other}`)),
    ],
    isLoaded: true,
  };
}
