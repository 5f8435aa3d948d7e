// Does it come and go? Executed: each way in which a livepatch comes, goes, is turned round, replaces and is replaced, and in which
// the modules that it is for come and go, on one machine after the other.
//
// Invariant: after each way the machine is as it was before it, or the finding says what is left.

import { UAPI } from '../kernel/uapi.ts';
import { type Cycle, NotTried, WayFailed } from './cycle.ts';
import { differences } from './differences.ts';
import type { Finding, Weight } from './finding.ts';
import { checkInvariants } from './invariants.ts';
import { pictureOf } from './picture.ts';
import { renamed } from './renamed.ts';

export interface Way {
  readonly name: string;
  run(cycle: Cycle): string | undefined;
}

const WAYS: readonly Way[] = [
  {
    name: 'enable, disable, unload',
    run: (cycle) => {
      cycle.on();
      cycle.complete();
      cycle.off();
      return undefined;
    },
  },
  {
    name: 'enable again',
    run: (cycle) => {
      cycle.on();
      cycle.complete();
      cycle.off();
      return undefined;
    },
  },
  {
    name: 'reversed in the middle of enabling',
    run: (cycle) => {
      const { world, patch } = cycle;
      const letGo = world.hold();
      cycle.step(`loading ${patch.name}`, world.load(patch));
      if (!world.inTransition) throw new NotTried('nothing held its transition');
      cycle.step('reversing', world.setEnabled(patch.name, '0'));
      letGo();
      cycle.settled('the reversed transition');
      cycle.gone();
      return undefined;
    },
  },
  {
    name: 'reversed in the middle of disabling',
    run: (cycle) => {
      const { world, patch } = cycle;
      cycle.on();
      const letGo = world.hold();
      cycle.step('disabling', world.setEnabled(patch.name, '0'));
      if (!world.inTransition) throw new NotTried('nothing held its transition');
      cycle.step('reversing', world.setEnabled(patch.name, '1'));
      letGo();
      cycle.settled('the reversed transition');
      if (!world.isEnabled(patch.name)) throw new WayFailed('it is not enabled after that');
      cycle.complete();
      cycle.off();
      return undefined;
    },
  },
];

/** For a module that it patches. */
const TARGET_WAYS: readonly ((target: string) => Way)[] = [
  (target) => ({
    name: `${target} goes and comes while it is enabled`,
    run: (cycle) => {
      cycle.on();
      cycle.targetOff(target);
      cycle.complete();
      cycle.targetOn(target);
      cycle.complete();
      cycle.off();
      return undefined;
    },
  }),
  (target) => ({
    name: `${target} comes after it`,
    run: (cycle) => {
      cycle.targetOff(target);
      cycle.on();
      cycle.targetOn(target);
      cycle.complete();
      cycle.off();
      return undefined;
    },
  }),
];

/** Where a load is served in the middle of a transition, and where it waits for its end. */
const DURING: Readonly<Record<'module' | 'bundle', readonly ((target: string) => Way)[]>> = {
  module: [
    (target) => ({
      name: `${target} goes and comes during its transition`,
      run: (cycle) => {
        const { world, patch } = cycle;
        const letGo = world.hold();
        cycle.step(`loading ${patch.name}`, world.load(patch));
        if (!world.inTransition) throw new NotTried('nothing held its transition');
        cycle.targetOff(target);
        cycle.targetOn(target);
        letGo();
        cycle.settled('the transition');
        cycle.complete();
        cycle.off();
        return undefined;
      },
    }),
  ],
  bundle: [
    (target) => ({
      name: `${target} cannot go during its transition`,
      run: (cycle) => {
        const { world, patch } = cycle;
        const letGo = world.hold();
        cycle.step(`enabling ${patch.name}`, world.load(patch));
        if (!world.inTransition) throw new NotTried('nothing held its transition');
        const { exit, log } = world.unload(target);
        if (exit !== UAPI.EBUSY) throw new WayFailed(`unloading ${target} ended with ${exit}`, log);
        letGo();
        cycle.settled('the transition');
        cycle.complete();
        cycle.off();
        return undefined;
      },
    }),
    (target) => ({
      name: `${target} comes when its transition is over`,
      run: (cycle) => {
        const { world, patch } = cycle;
        cycle.targetOff(target);
        const letGo = world.hold();
        cycle.step(`enabling ${patch.name}`, world.load(patch));
        if (!world.inTransition) throw new NotTried('nothing held its transition');
        const loading = world.begin(target);
        if (!loading) throw new NotTried(`${target} is not there`);
        if (world.isLive(target)) throw new WayFailed(`${target} is live in the middle of the transition`);
        letGo();
        cycle.settled('the transition');
        cycle.step(`loading ${target}`, loading());
        cycle.complete();
        cycle.off();
        return undefined;
      },
    }),
  ],
};

const REPLACING: Way = {
  name: 'on top of what it comes after',
  run: (cycle) => {
    const { world, patch, olds } = cycle;
    for (const old of olds) cycle.on(old);
    cycle.on();
    cycle.complete();
    const left = olds.filter(({ name }) => world.isEnabled(name));
    const replaces = world.replaces(patch.name);
    if (replaces && left.length > 0) throw new WayFailed(`${left[0].name} is not replaced`);
    for (const old of olds) if (!left.includes(old)) cycle.gone(old);
    cycle.off();
    for (const old of [...left].reverse()) cycle.off(old);
    return replaces ? 'the old ones are replaced' : 'the old ones stay: it has no `replace`';
  },
};

const REPLACED: Way = {
  name: 'replaced by a copy of itself',
  run: (cycle) => {
    const { world, patch } = cycle;
    const copy = renamed(patch, world.machine.inspect.core.kernel);
    if (copy === undefined) throw new NotTried('a copy with another name cannot be made of it');
    cycle.on();
    cycle.on(copy);
    const replaces = world.replaces(copy.name);
    if (replaces && world.isEnabled(patch.name)) throw new WayFailed('it is not replaced');
    if (replaces) cycle.gone();
    cycle.off(copy);
    if (replaces) return undefined;
    cycle.off();
    throw new NotTried('its init takes `replace` away again');
  },
};

/** @param tell told of each way before it is gone; for a person who waits */
export function comesAndGoes(cycle: Cycle, tell: (way: string) => void = () => {}): Finding[] {
  const ways = [
    ...WAYS,
    ...cycle.targets.flatMap((target) =>
      [...TARGET_WAYS, ...DURING[cycle.patch.isBundle ? 'bundle' : 'module']].map((way) => way(target)),
    ),
    ...(cycle.olds.length > 0 ? [REPLACING] : []),
    REPLACED,
  ];
  const findings: Finding[] = [];
  for (const way of ways) {
    tell(way.name);
    const finding = goneWay(cycle, way);
    findings.push(finding);
    // What is left of one way is no ground for the next.
    if (finding.weight !== 'bad') continue;
    const rest = ways.slice(findings.length);
    if (rest.length > 0)
      findings.push(found('not seen', `not tried after that: ${rest.map(({ name }) => name).join('; ')}`));
    break;
  }
  return findings;
}

export const found = (weight: Weight, text: string, lines: readonly string[] = []): Finding => ({
  part: 'comes and goes',
  weight,
  text,
  ...(lines.length > 0 ? { lines } : {}),
});

export function goneWay(cycle: Cycle, way: Way): Finding {
  const { world } = cycle;
  const before = pictureOf(world.machine);
  const objects = new Set(world.objects().map(({ addr }) => addr));
  const oopses = world.oopses.length;
  try {
    const more = way.run(cycle);
    world.rest();
    const left = [
      ...world
        .objects()
        .filter(({ addr }) => !objects.has(addr))
        .map(({ size, caller }) => `${size} bytes that ${caller} took, and nobody has freed`),
      ...differences(before, pictureOf(world.machine)),
      ...checkInvariants(world.machine),
    ];
    if (world.oopses.length > oopses) return found('bad', `${way.name}: an oops`, world.oopses.slice(oopses));
    if (left.length > 0) return found('bad', `${way.name}: it leaves something behind`, left);
    return found('good', more === undefined ? way.name : `${way.name}: ${more}`);
  } catch (error) {
    return ofError(error, way.name, world.oopses.slice(oopses));
  }
}

/** A machine that ends is a finding; a mistake of ours is not. */
export function ofError(error: unknown, way: string, oopses: readonly string[]): Finding {
  if (error instanceof NotTried) return found('not seen', `${way}: not tried: ${error.message}`, error.lines);
  if (error instanceof WayFailed)
    return found('bad', `${way}: ${error.message}`, [...oopses, ...error.lines]);
  if (error instanceof Error && typeof (error as { code?: unknown }).code === 'string')
    return found('bad', `${way}: ${error.message}`, oopses);
  throw error;
}
