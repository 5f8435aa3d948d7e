// Does it load? By loading it, with the modules that it is for before it; the kernel's own words if not.

import type { Finding } from './finding.ts';
import { exitText } from './lifecycle.ts';
import type { PatchFile } from './patch_file.ts';
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
export function loads(world: World, patch: PatchFile, targets: readonly string[]): Loaded {
  const findings: Finding[] = [];
  for (const target of targets) {
    const outcome = world.loadFromLibrary(target);
    if (outcome?.exit === 0) continue;
    const why = outcome ? exitText(outcome.exit) : 'is not there with all that it needs';
    findings.push(finding('not seen', `${target}, which it is for, ${why}`, outcome?.log));
  }
  const oopses = world.oopses.length;
  const { exit, log } = world.load(patch);
  const words = log.filter((line) => !USUAL.test(line));
  if (world.oopses.length > oopses) {
    findings.push(finding('bad', 'an oops as it loads', world.oopses.slice(oopses)));
    return { findings, isLoaded: false };
  }
  if (exit !== 0) {
    findings.push(finding('bad', `loading it ${exitText(exit)}`, words));
    return { findings, isLoaded: false };
  }
  const release = world.machine.inspect.core.kernel.release;
  findings.push(finding('good', `it loads into ${release}, and is enabled`));
  if (patch.builtFor !== undefined && patch.builtFor !== release)
    findings.push(finding('told', `it was built for ${patch.builtFor}`));
  return { findings, isLoaded: true };
}
