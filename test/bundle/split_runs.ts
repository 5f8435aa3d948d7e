// One workload for an uber module of fixtures/split, on a machine of either model, and all that can be seen of it.

import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect } from 'vitest';
import { countOn } from '../../src/compare/count.ts';
import { bundleOfSplit, splitOf } from './split_world.ts';
import { World } from './world.ts';

const FIXTURES = join(import.meta.dirname, '../../fixtures/split');
export const uber = (name: string): Uint8Array =>
  new Uint8Array(readFileSync(join(FIXTURES, `klpsplit_${name}.ko`)));

type When = 'before' | 'after';

interface Seen {
  /** What each function says, in the order of looks. */
  readonly outputs: readonly string[];
  /** What functions, callbacks, inits and exits have logged. */
  readonly logged: readonly string[];
  readonly modules: readonly string[];
  readonly originalRuns: number;
  readonly lateRelocations: number;
}

/** The modules that a patch module is for. */
export const targetsOf = (name: string): string[] =>
  splitOf(name, 'fix', uber(name))
    .members.map(({ object }) => object)
    .filter((object) => object !== 'vmlinux');

/** @param when targets come, before the patch is enabled or after it */
export async function runUber(name: string, model: 'classic' | 'bundle', when: When): Promise<Seen> {
  const world = await World.boot({ model });
  try {
    return new Run(world, model).all(name, when);
  } finally {
    world.machine.close();
  }
}

class Run {
  readonly #w: World;
  readonly #classic: boolean;
  readonly #outputs: string[] = [];

  constructor(world: World, model: 'classic' | 'bundle') {
    this.#w = world;
    this.#classic = model === 'classic';
  }

  all(name: string, when: When): Seen {
    const w = this.#w;
    const counts = countOn(w.machine);
    const targets = targetsOf(name);
    const [first] = targets;
    if (when === 'before') for (const target of targets) this.#insmod(target.slice(9));
    this.#look(targets);
    this.#enable(name);
    if (when === 'after') for (const target of targets) this.#insmod(target.slice(9));
    this.#look(targets);
    // One of them goes, and comes again.
    expect(w.wait(w.machine.rmmod(first))).toBe(0);
    this.#insmod(first.slice(9));
    this.#look(targets);
    const { originalRuns, lateRelocations } = counts;
    this.#enable('second');
    const all = ['klpsplit_t1', 'klpsplit_t2', 'klpsplit_t3'];
    for (const target of all.filter((t) => !targets.includes(t))) this.#insmod(target.slice(9));
    this.#look(all);
    // Reversed, and reversed once more: it stays; then it goes.
    const patch = this.#patch('second');
    this.#write(patch, '0');
    this.#write(patch, '1');
    expect(w.settled()).toBe(true);
    this.#look(all);
    this.#write(patch, '0');
    expect(w.settled()).toBe(true);
    this.#look(all);
    this.#unload(name);
    for (const target of [...new Set([...all, ...targets])].reverse())
      expect(w.wait(w.machine.rmmod(target))).toBe(0);
    return {
      outputs: this.#outputs,
      logged: w.machine
        .dmesg()
        .flatMap((line) => /klpsplit(_t\d)?: .*/.exec(line)?.[0] ?? [])
        .filter((line) => !/module|taint/.test(line)),
      modules: w.modules(),
      originalRuns,
      lateRelocations,
    };
  }

  #patch(name: string): string {
    return this.#classic ? `klpsplit_${name}` : name;
  }

  #insmod(name: string): void {
    const { machine } = this.#w;
    machine.addFile(`/lib/klpsplit_${name}.ko`, uber(name));
    expect(this.#w.wait(machine.insmod(`/lib/klpsplit_${name}.ko`, ''))).toBe(0);
  }

  #enable(name: string): void {
    if (this.#classic) this.#insmod(name);
    else expect(this.#w.enable(bundleOfSplit(splitOf(name, name, uber(name)), name))).toBe(0);
    expect(this.#w.settled()).toBe(true);
  }

  #write(patch: string, text: string): void {
    expect(this.#w.write(patch, 'enabled', text)).toBe(0);
  }

  #look(targets: readonly string[]): void {
    for (const target of targets) this.#outputs.push(this.#w.cat(`/proc/${target}`));
    this.#outputs.push(this.#w.cat('/proc/cmdline'));
  }

  /** What was replaced goes by itself in a bundle. */
  #unload(name: string): void {
    const { machine } = this.#w;
    if (!this.#classic) {
      expect(
        machine.runUntil(() => this.#w.modules().every((mod) => mod.startsWith('klpsplit_t')), 60e9),
      ).toBe(true);
      return;
    }
    machine.runFor(2e9);
    for (const patch of [name, 'second']) expect(this.#w.wait(machine.rmmod(`klpsplit_${patch}`))).toBe(0);
  }
}
