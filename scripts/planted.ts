// npm run planted [NAME...]: plants the mistakes of test/explore/planted.ts one at a time, explores, and prints what was found of
// each as a counterexample. Ends with 1 where one is not found.

import { drawn, Story } from '../src/explore/counterexample.ts';
import { execute } from '../src/explore/execution.ts';
import { explored, fixture } from '../test/explore/explore.ts';
import { PLANTED } from '../test/explore/planted.ts';

export async function main(names: readonly string[]): Promise<void> {
  const known = PLANTED.map(({ name }) => name as string);
  const unknown = names.find((name) => !known.includes(name));
  if (unknown !== undefined)
    throw Object.assign(new Error(`no such mistake: ${unknown}; there are ${known.join(', ')}`), {
      exitStatus: 2,
    });
  for (const planted of PLANTED) {
    if (names.length > 0 && !names.includes(planted.name)) continue;
    if (!(await found(planted))) process.exitCode = 1;
  }
}

async function found({
  name,
  plant: prepare,
  scenario: file,
  wanted,
  finds,
}: (typeof PLANTED)[number]): Promise<boolean> {
  const scenario = fixture(file);
  const started = performance.now();
  const before = process.cpuUsage();
  const { found: hit, schedules, points } = await explored(scenario, { ...wanted, prepare });
  const { user, system } = process.cpuUsage(before);
  const took = `${schedules} schedules, ${((performance.now() - started) / 1000).toFixed(1)} s, ${((user + system) / 1e6).toFixed(1)} s of processor time`;
  if (!hit) {
    process.stdout.write(`${name}: nothing found (${took})\n`);
    return false;
  }
  const story = new Story();
  const at = wanted.at ?? '';
  const again = await execute(scenario, points, hit.plan, { prepare, tell: story, at });
  const isIt = hit.problems.some(({ text }) => finds.test(text));
  process.stdout.write(
    `${name}, in '${scenario.name}' (${took})${isIt ? '' : ': ANOTHER PROBLEM THAN EXPECTED'}\n\n${drawn(story.about(again.problems), again.problems, 100)}\n\n  ${hit.schedule}\n\n`,
  );
  return isIt;
}
