// Each allocation that coming and going takes, made to fail once: the operation fails, or does without, and nothing is left.

import type { FaultAttr } from '../kernel/fault_inject.ts';
import type { TaskStruct } from '../kernel/task_struct.ts';
import { type Cycle, NotTried, WayFailed } from './cycle.ts';
import { differences } from './differences.ts';
import type { Finding } from './finding.ts';
import { checkInvariants } from './invariants.ts';
import { found, ofError } from './lifecycle.ts';
import { pictureOf } from './picture.ts';
import type { Outcome } from './world.ts';

const ALLOCATIONS: FaultAttr['point'] = ['kmalloc', 'module_alloc'];
/** More than most operations take. */
const MOST = 500;

interface Operation {
  readonly name: string;
  before(cycle: Cycle): void;
  start(cycle: Cycle, by: (task: TaskStruct) => void): Outcome;
  /** After one that came through. */
  undo(cycle: Cycle): void;
  after(cycle: Cycle): void;
}

const nothing = (): void => {};

function operations(cycle: Cycle): Operation[] {
  const { patch } = cycle;
  return [
    {
      name: 'enabling',
      before: nothing,
      start: ({ world }, by) => world.load(patch, by),
      undo: (at) => {
        at.settled(`enabling ${patch.name}`);
        at.off();
      },
      after: nothing,
    },
    ...cycle.targets.map(
      (target): Operation => ({
        name: `loading ${target} under it`,
        before: (at) => {
          at.targetOff(target);
          at.on();
        },
        start: ({ world }, by) => world.loadFromLibrary(target, by) as Outcome,
        undo: (at) => at.targetOff(target),
        after: (at) => {
          at.targetOn(target);
          at.off();
        },
      }),
    ),
  ];
}

/** @param tell told of each operation before it is tried; for a person who waits */
export function failingAllocations(cycle: Cycle, tell: (what: string) => void = () => {}): Finding[] {
  const findings: Finding[] = [];
  for (const operation of operations(cycle)) {
    const name = `each allocation of ${operation.name} fails once`;
    tell(name);
    try {
      operation.before(cycle);
      const count = walk(cycle, operation);
      operation.after(cycle);
      findings.push(found('good', `${name}: ${count}, and nothing is left behind`));
    } catch (error) {
      findings.push(ofError(error, name, cycle.world.oopses));
      break;
    }
  }
  return findings;
}

/** @returns how many there are. @throws WayFailed, NotTried where there are too many */
function walk(cycle: Cycle, operation: Operation): number {
  const { world } = cycle;
  let before = rest(cycle);
  for (let nth = 1; nth <= MOST; nth++) {
    let doer: TaskStruct | undefined;
    const fault = world.arm({ point: ALLOCATIONS, nth, by: (task) => task === doer });
    const { exit, log } = operation.start(cycle, (task) => {
      doer = task;
    });
    world.disarm(fault);
    const [injected] = fault.injected;
    if (exit === undefined) throw new WayFailed(`${injected}: the task did not return`, log);
    if (exit === 0) operation.undo(cycle);
    const after = rest(cycle);
    const wrong = [...differences(before, after), ...checkInvariants(world.machine)];
    if (injected === undefined && exit !== 0) throw new WayFailed('it fails without a fault', log);
    if (wrong.length > 0) throw new WayFailed(`${injected ?? 'none'}: it leaves something behind`, wrong);
    if (injected === undefined) return nth - 1;
    before = after;
  }
  throw new NotTried(`more than the first ${MOST}, which left nothing behind`);
}

function rest({ world }: Cycle): Record<string, unknown> {
  world.settled();
  world.rest();
  return pictureOf(world.machine, false);
}
