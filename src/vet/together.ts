// Several livepatches on one machine, in the order in which they come: do they load on top of each other, who of them has a
// function, and do they come and go, whichever goes first?
//
// Invariant: who has a function is what the machine's own func_stacks say, not what the files do.

import type { KlpFunc } from '../livepatch/structs.ts';
import { Cycle, WayFailed } from './cycle.ts';
import type { Finding } from './finding.ts';
import { found, goneWay, ofError, type Way } from './lifecycle.ts';
import { enabledOn, targetsLoaded } from './loads.ts';
import type { Subject } from './subject.ts';
import type { World } from './world.ts';

/** @param targets modules that they are for, which the library has */
export function together(
  world: World,
  subjects: readonly Subject[],
  targets: readonly string[],
  tell: (what: string) => void,
): Finding[] {
  const findings = [...targetsLoaded(world, targets)];
  const cycle = new Cycle(world, subjects[subjects.length - 1], targets, subjects.slice(0, -1));
  tell('loading them');
  for (const subject of subjects) {
    const enabled = enabledOn(world, subject);
    findings.push(...enabled.findings.map((finding) => ({ ...finding, about: subject.name })));
    if (!enabled.isLoaded)
      return [...findings, found('not seen', `not tried: ${subject.name} does not load`)];
    try {
      cycle.settled(`enabling ${subject.name}`);
    } catch (error) {
      const failed = ofError(error, `enabling ${subject.name}`, world.oopses);
      return [...findings, failed, found('not seen', 'not tried after that: everything else')];
    }
  }
  findings.push(...owners(world));
  try {
    for (const subject of left(world, subjects).reverse()) cycle.off(subject);
    for (const subject of subjects) if (world.isLoaded(subject.name)) cycle.gone(subject);
  } catch (error) {
    return [...findings, ofError(error, 'disabling them for the first time', world.oopses)];
  }
  world.rest();
  const ways = waysOf(subjects, targets);
  for (const [i, way] of ways.entries()) {
    tell(way.name);
    const finding = goneWay(cycle, way);
    findings.push(finding);
    if (finding.weight !== 'bad') continue;
    const rest = ways.slice(i + 1).map(({ name }) => name);
    if (rest.length > 0) findings.push(found('not seen', `not tried after that: ${rest.join('; ')}`));
    break;
  }
  return findings;
}

const left = (world: World, subjects: readonly Subject[]): Subject[] =>
  subjects.filter(({ name }) => world.isEnabled(name));

/** Functions that several of them have: whose runs. */
function owners({ machine }: World): Finding[] {
  const { livepatch, core } = machine.inspect;
  const { patching } = livepatch;
  const text = (func: KlpFunc): string => (func.nop ? 'the original' : core.symbols.format(func.newFunc));
  return [...patching.allOps()].flatMap((ops) => {
    const [first, ...below] = patching.funcStack(ops);
    if (below.length === 0) return [];
    const finding: Finding = {
      part: 'patchable',
      weight: 'told',
      about: first.oldName ?? '?',
      text: `several of them have it: while all are enabled ${text(first)} runs, over ${below.map(text).join(', ')}`,
    };
    return [finding];
  });
}

/** All enabled, those that were replaced unloaded. @returns those that are enabled */
function allOn(cycle: Cycle, subjects: readonly Subject[]): Subject[] {
  const { world } = cycle;
  let before: Subject[] = [];
  for (const subject of subjects) {
    cycle.on(subject);
    cycle.complete(subject);
    const now = left(world, before);
    if (world.replaces(subject.name) && now.length > 0) throw new WayFailed(`${now[0].name} is not replaced`);
    for (const old of before) if (!now.includes(old)) cycle.gone(old);
    before = [...now, subject];
  }
  return before;
}

const told = (live: readonly Subject[], all: readonly Subject[]): string | undefined => {
  const gone = all.filter((one) => !live.includes(one)).map(({ name }) => name);
  return gone.length > 0 ? `${gone.join(', ')} is replaced on the way` : undefined;
};

function waysOf(subjects: readonly Subject[], targets: readonly string[]): Way[] {
  const enabled = 'enabled in the order given';
  return [
    {
      name: `${enabled}, disabled in the reverse one`,
      run: (cycle) => {
        const live = allOn(cycle, subjects);
        for (const subject of [...live].reverse()) cycle.off(subject);
        return told(live, subjects);
      },
    },
    {
      name: `${enabled}, disabled in the same`,
      run: (cycle) => {
        const live = allOn(cycle, subjects);
        for (const subject of live) cycle.off(subject);
        return told(live, subjects);
      },
    },
    {
      name: `${enabled}, the first of them goes and comes again`,
      run: (cycle) => {
        const [first, ...others] = allOn(cycle, subjects);
        cycle.off(first);
        cycle.on(first);
        cycle.complete(first);
        for (const subject of [first, ...left(cycle.world, others).reverse()]) cycle.off(subject);
        for (const other of others) if (cycle.world.isLoaded(other.name)) cycle.gone(other);
        return told([first, ...others], subjects);
      },
    },
    ...targets.map(
      (target): Way => ({
        name: `${target} goes and comes while all are enabled`,
        run: (cycle) => {
          const live = allOn(cycle, subjects);
          cycle.targetOff(target);
          cycle.targetOn(target);
          for (const subject of live) cycle.complete(subject);
          for (const subject of [...live].reverse()) cycle.off(subject);
          return told(live, subjects);
        },
      }),
    ),
  ];
}
