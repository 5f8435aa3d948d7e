// What is done with a livepatch and the modules that it is for, each step with its own error.

import { errnoName } from '../kernel/errno.ts';
import { checkInvariants } from './invariants.ts';
import type { Livepatch, Subject } from './subject.ts';
import type { Outcome, World } from './world.ts';

/** What one way came to. */
export class WayFailed extends Error {
  readonly code = 'EVET';
  readonly lines: readonly string[];
  constructor(message: string, lines: readonly string[] = []) {
    super(message);
    this.name = 'WayFailed';
    this.lines = lines;
  }
}

/** A way was not gone, and why. */
export class NotTried extends WayFailed {
  override readonly name = 'NotTried';
}

export const exitText = (exit: number | undefined): string => {
  if (exit === undefined) return 'did not return';
  return `failed with ${errnoName(exit) ?? `exit code ${exit}`}`;
};

export class Cycle {
  readonly world: World;
  readonly patch: Subject;
  /** Modules that it is for, which the library has. */
  readonly targets: readonly string[];
  readonly olds: readonly Subject[];

  constructor(world: World, patch: Subject, targets: readonly string[], olds: readonly Subject[]) {
    this.world = world;
    this.patch = patch;
    this.targets = targets;
    this.olds = olds;
  }

  /** @throws WayFailed */
  step(what: string, { exit, log }: Outcome): void {
    if (exit !== 0) throw new WayFailed(`${what} ${exitText(exit)}`, log);
  }

  settled(what: string): void {
    const { world } = this;
    if (world.settled()) return;
    const blocked = world.machine.why()?.blocked ?? [];
    const lines = blocked
      .slice(0, 4)
      .flatMap(({ comm, pid, state, reason, function: func, stack }) => [
        `${comm}:${pid} (${state}): ${reason}${func === undefined ? '' : ` ${func}`}`,
        ...stack.map((line) => `  ${line}`),
      ]);
    throw new WayFailed(`${what}: the transition is not over after 40 s`, lines);
  }

  on(patch: Livepatch = this.patch): void {
    this.step(`loading ${patch.name}`, this.world.load(patch));
    this.settled(`enabling ${patch.name}`);
  }

  off(patch: Livepatch = this.patch): void {
    const { name } = patch;
    this.step(`disabling ${name}`, this.world.setEnabled(name, '0'));
    this.settled(`disabling ${name}`);
    this.gone(patch);
  }

  /** It is disabled, or replaced: its module can be unloaded; the members of a bundle go by themselves. */
  gone({ name, isBundle }: Livepatch = this.patch): void {
    if (isBundle) {
      if (!this.world.isAway(name)) throw new WayFailed(`${name} is disabled, and not all of it has gone`);
      return;
    }
    if (!this.world.freed(name)) throw new WayFailed(`${name} is disabled, and its module still in use`);
    this.step(`unloading ${name}`, this.world.unload(name));
  }

  targetOn(name: string): void {
    const outcome = this.world.loadFromLibrary(name);
    if (!outcome) throw new NotTried(`${name} is not there`);
    this.step(`loading ${name}`, outcome);
  }

  targetOff(name: string): void {
    this.step(`unloading ${name}`, this.world.unload(name));
  }

  /** Is every object whose module is there patched, and no other? */
  complete({ name }: Livepatch = this.patch): void {
    const { world } = this;
    const found = world.machine.inspect.livepatch.patches().find((one) => one.name === name);
    for (const object of found?.objects() ?? []) {
      const isThere = object.name === undefined || world.isLoaded(object.name);
      if (object.patched !== isThere)
        throw new WayFailed(`${object.name ?? 'vmlinux'} is ${object.patched ? '' : 'not '}patched`);
    }
    const wrong = checkInvariants(world.machine);
    if (wrong.length > 0) throw new WayFailed('what must hold of a machine does not', wrong);
  }
}
