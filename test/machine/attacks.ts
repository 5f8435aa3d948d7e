// The module of fixtures/attacks on a machine, and how that ended.

import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { Machine, type MachineOptions } from '../../src/machine/machine.ts';

const DIR = join(import.meta.dirname, '../../fixtures/attacks');
const ko = new Uint8Array(readFileSync(join(DIR, 'klpdemo_attacks.ko')));
const SECOND = 1e9;
/** Virtual time: at 4,000 ns each, half a million instructions. */
const LIMIT = 2 * SECOND;

/** Names of all attacks, from the source. */
export function attackNames(): string[] {
  const source = readFileSync(join(DIR, 'klpdemo_attacks.c'), 'utf8');
  const listed = [...source.matchAll(/^\tX\((\w+),|\bNAMED\((?!name\))(\w+)\)/gm)];
  return listed.map(([, instructions, c]) => instructions ?? c);
}

export interface Ended {
  /** `exit N` of insmod, `goes on` at the limit, or the class of what ended the machine. */
  readonly how: string;
  /** What ended it, and the kernel's last words. */
  readonly why: string;
  readonly log: readonly string[];
  /** Whether another task was served afterwards. */
  readonly alive: boolean;
}

/** @param before called on the machine before the module is loaded */
export async function attack(
  args: string,
  options: MachineOptions = {},
  before: (machine: Machine) => void = () => {},
): Promise<Ended> {
  const machine = await Machine.boot({ seed: 1, cpus: 2, heap: 16 << 20, instructionNs: 4000, ...options });
  try {
    machine.addFile('/attacks.ko', ko);
    before(machine);
    const task = machine.insmod('/attacks.ko', args);
    return ending(
      machine,
      () => machine.runUntil(() => machine.exitStatus(task) !== undefined, LIMIT),
      () => {
        const status = machine.exitStatus(task);
        return status === undefined ? 'goes on' : `exit ${status}`;
      },
    );
  } finally {
    machine.close();
  }
}

function ending(machine: Machine, run: () => void, status: () => string): Ended {
  const log = () => machine.dmesg().map((line) => line.replace(/^\[ *[\d.]+\] /, ''));
  let how = '';
  try {
    run();
    how = status();
    const other = machine.spawn('cat', ['/proc/cmdline']);
    machine.runUntil(() => machine.exitStatus(other) !== undefined, LIMIT);
    return { how, why: '', log: log(), alive: machine.exitStatus(other) === 0 };
  } catch (error) {
    const { name, message } = error as Error;
    return { how: how || name, why: message, log: log(), alive: false };
  }
}
