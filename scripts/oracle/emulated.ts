// The emulated machine, booted on the same kernel, carrying out the same operations by klpemu's shell.

import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { Machine } from '../../src/machine/machine.ts';
import { Shell } from '../../src/shell/shell.ts';
import { MachineFailure, type Outcome } from './outcome.ts';

export interface EmulatedOptions {
  /** The kernel's file. */
  readonly kernel: string;
  readonly modules: string;
  readonly cmdline: string;
  readonly cpus: number;
  readonly seed: number;
  readonly stallSeconds: number;
}

/** Virtual ns between two looks, as in init.sh. */
const POLL_NS = 100e6;
const LIVEPATCH = '/sys/kernel/livepatch';

/** @throws MachineFailure when it cannot go on */
export async function runEmulated(
  operations: readonly string[],
  options: EmulatedOptions,
): Promise<Outcome[]> {
  const { kernel, cmdline, cpus, seed, stallSeconds } = options;
  const machine = await Machine.boot({ kernel, cmdline, cpus, seed });
  const outcomes: Outcome[] = [];
  try {
    machine.runFor(POLL_NS);
    const shell = new Shell(machine, { modules: () => modulesOf(options.modules) });
    shell.context.modules.depmod();
    const { printk } = machine.inspect.core;
    let seen = printk.nextSeq;
    for (const line of operations) {
      const { status, stdout, stderr } = await shell.execute(line);
      settle(machine, stallSeconds);
      // As dmesg -r of Debian 12 has them, whose prefix is the one or the other's bits.
      const log = printk
        .since(seen)
        .map(({ level, text, facility = 0 }) => ({ level: facility | level, text }));
      seen = printk.nextSeq;
      outcomes.push({ status, stdout, stderr, log });
    }
    return outcomes;
  } catch (error) {
    const next = operations[outcomes.length] ?? 'the end';
    throw new MachineFailure(
      `the emulated machine ended at '${next}': ${(error as Error).message}`,
      outcomes,
    );
  } finally {
    machine.close();
  }
}

function settle(machine: Machine, stallSeconds: number): void {
  const { fs } = machine.inspect;
  const value = (name: string, file: string): string =>
    machine.readText(`${LIVEPATCH}/${name}/${file}`).trim();
  // As init.sh has it: one whose files are gone already, with its directory on its way, is over.
  const isThere = (name: string): boolean =>
    ['enabled', 'transition'].every((file) => fs.list(`${LIVEPATCH}/${name}`)?.includes(file));
  const busy = (): boolean =>
    (fs.list(LIVEPATCH) ?? []).some(
      (name) => isThere(name) && (value(name, 'enabled') !== '1' || value(name, 'transition') !== '0'),
    );
  for (let waited = 0; waited < stallSeconds * 1e9 && busy(); waited += POLL_NS) machine.runFor(POLL_NS);
  machine.runFor(POLL_NS);
}

function* modulesOf(folder: string): IterableIterator<{ name: string; bytes: Uint8Array }> {
  for (const name of readdirSync(folder).sort())
    if (name.endsWith('.ko')) yield { name, bytes: readFileSync(join(folder, name)) };
}
